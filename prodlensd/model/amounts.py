"""What moments and money are counted in: whole microseconds, whole nano-dollars."""

from typing import Final

NANOUSD_PER_USD: Final = 1_000_000_000
US_PER_S: Final = 1_000_000
US_PER_DAY: Final = 86_400 * US_PER_S
