"""`python -m prodlensd`: the same as the `prodlensd` command."""

from prodlensd.cli import main

if __name__ == "__main__":
    main()
