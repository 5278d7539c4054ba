"""Blocks with commands of other programs: which test runs each, or why none does.

A key is a page and how the block begins there. `test_blocks.py` fails for a block that is missing
here, and for an entry that no block needs any more.
"""

RUN_BY = {
    "docs/howto/dask-cluster.md: openssl": "tests/system/test_fleet_tls.py::"
    "test_a_daemon_with_a_certificate_retrains_there_and_one_without_does_not",
    "docs/howto/dask-cluster.md: sudo systemctl": "tests/system/test_fleet_hosts.py",
    "docs/howto/mosquitto.md": "tests/system/test_hostile_user.py::"
    "test_the_page_on_mosquitto_holds_to_the_letter_and_each_forgery_is_refused",
    "docs/howto/talk.md: mosquitto_pub": "tests/daemon/runtime/test_commands.py::"
    "test_the_example_of_the_page_gives_a_command_that_passes_in_each_shell_that_is_here",
    "docs/reference/checks.md: node examples/": "tests/system/test_node_bot.py::"
    "test_the_checks_in_javascript_hold_every_vector_without_a_package",
}
"""A whole page, or a page and how one of its blocks begins, and the test that runs it."""

NOT_YET: tuple[str, ...] = ()
"""Commands that the pages name and that are being built."""

_BY_HAND = "tests/system/test_package.py does the same in a machine of its own, with its own paths"

NOT_RUN = {
    "README.md: sudo apt": _BY_HAND,
    "docs/howto/bot-other-languages.md: cd examples/node": "`make node` does it, with packages of "
    "npm, and tests/system/test_node_bot.py runs the bot that it builds",
    "docs/howto/fill-the-store.md: aws s3 cp": "the archive is paid for by who reads it",
    "docs/howto/freqtrade.md: hyperdrift models": "`make freqtrade` runs a real freqtrade, offline",
    "docs/howto/freqtrade.md: pip install": "`make freqtrade` installs and copies the same",
    "docs/howto/install.md: sudo HYPERDRIFT_WHEELS": _BY_HAND,
    "docs/howto/install.md: sudo apt": _BY_HAND,
    "docs/howto/notifications.md: install -d": "it writes an address that a person has",
    "docs/howto/prometheus-grafana.md: promtool": "it reads the files of this host; promtool reads "
    "ours in tests/daemon/web/metrics/test_exposition.py",
    "docs/howto/remove.md: sudo apt": _BY_HAND,
    "docs/howto/run-as-a-service.md: cp systemd/": "tests/system/test_service.py starts the unit "
    "with these files in a machine of its own",
    "docs/howto/run-as-a-service.md: install -d": "it waits for a password on its input",
    "docs/howto/run-as-a-service.md: journalctl": "it reads the log of this host",
    "docs/howto/status-page.md: ssh": "it needs another machine",
    "docs/howto/upgrade.md: git -C": _BY_HAND,
    "docs/tutorial/live-bot.md: sudo apt": _BY_HAND,
    "docs/tutorial/live-bot.md: sudo systemctl": _BY_HAND,
    "docs/tutorial/live-bot.md: sudo usermod": "it changes the users of this host",
}
"""A page and how a block begins there, and why nothing runs it."""
