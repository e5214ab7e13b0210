"""One TOML file → one frozen `Config`, or one `ConfigError` that names the key and its meaning."""

from typing import TYPE_CHECKING

from prodlensd.faces import late

if TYPE_CHECKING:
    from prodlensd.config.building import build, check_address, load
    from prodlensd.config.files import SYSTEM_FILE, ConfigError, ledger_path, user_file
    from prodlensd.config.meanings import example, keys
    from prodlensd.config.settings import (
        LIMITS,
        SCOPES,
        Budget,
        Config,
        Fallback,
        Http,
        Log,
        Logs,
        Notify,
        Parquet,
        PriceOverride,
        Pricing,
        Proxy,
        Publish,
        Retention,
        Settings,
        Status,
        Store,
        Transcripts,
    )
else:
    __getattr__ = late(
        __name__,
        building="build check_address load",
        files="ConfigError SYSTEM_FILE ledger_path user_file",
        meanings="example keys",
        settings=(
            "Budget Config Fallback Http LIMITS Log Logs Notify Parquet PriceOverride Pricing "
            "Proxy Publish Retention SCOPES Settings Status Store Transcripts"
        ),
    )
