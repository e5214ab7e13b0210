"""The commands, one file each, loaded when called: options, texts and exit codes, no work."""

from typing import TYPE_CHECKING

from prodlensd.faces import late

if TYPE_CHECKING:
    from prodlensd.cli.at_once import is_answered
    from prodlensd.cli.commands import (
        COMMANDS,
        EXIT_CONFIG,
        EXIT_FAILURE,
        EXIT_TRY_LATER,
        GROUPS,
        as_json,
        errors_end_it,
        fail,
        load_config,
        main,
        module_of,
        say_behind,
    )
    from prodlensd.cli.options import config_option, from_option
else:
    __getattr__ = late(
        __name__,
        at_once="is_answered",
        commands=(
            "COMMANDS EXIT_CONFIG EXIT_FAILURE EXIT_TRY_LATER GROUPS as_json errors_end_it fail "
            "load_config main module_of say_behind"
        ),
        options="config_option from_option",
    )
