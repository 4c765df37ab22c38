#!/usr/bin/env python3
"""Post a run's end to a chat, as the command of --on-end.

    ecsbatch restart fleet.csv --on-end config/on-end-chat.py

CHAT_WEBHOOK is the address of an incoming webhook that takes {"text": ...}, as Slack, Mattermost, Rocket.Chat, Teams
and others have it. It ends with 1 where the message could not be posted, which ecsbatch warns of and nothing else.
Only Python's standard library is used. ECSBATCH_REPORT is the path of an HTML report, to be uploaded or mailed by you.
"""

import json
import os
import sys
import urllib.request


def plain(text: object) -> str:
    """Return a text of others as a chat shows it: nothing in it calls anybody, links or formats."""
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return line.replace("`", "'").replace("@", "@\N{ZERO WIDTH SPACE}")


def message(run: dict) -> str:
    """Return what is posted of a run, see: ecsbatch schema summary."""
    counts = ("restarted", "failed", "timed_out", "unknown", "skipped", "not_started")
    told = ", ".join(f"{run[kind]:,} {kind.replace('_', ' ')}" for kind in counts if run[kind])
    why = f" ({plain(run['reason'])})" if run["reason"] else ""
    lines = [f"Run {plain(run['run_id'])}: {run['status']}{why}, {run['total']:,} servers: {told or 'none'}."]
    if run["message"]:
        lines.append(plain(run["message"]))
    for each in run["last_failures"]:
        name = each["name"] or each["id"]
        why = f"{plain(each['error_code'] or each['reason'])} {plain(each['message'])}"
        lines.append(f"- {plain(name)}: {why}".rstrip())
    if run["resume_options"]:
        lines.append(f"Next: ecsbatch status {plain(run['run_id'])}")
    return "\n".join(lines)


def main() -> int:
    """Post it; return the exit code."""
    address = os.environ.get("CHAT_WEBHOOK", "")
    if not address.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        sys.stderr.write("CHAT_WEBHOOK is not set to an https address.\n")
        return 1
    body = json.dumps({"text": message(json.load(sys.stdin))}).encode()
    request = urllib.request.Request(  # noqa: S310 - its scheme was looked at
        address, body, {"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=20).close()  # noqa: S310 - the same
    except OSError as error:
        # The address is a secret; the error may repeat it.
        sys.stderr.write(f"The chat did not take the message: {type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
