"""Who may command (CONTRACT.md section 2): the platform, and nobody else."""

from __future__ import annotations

from deploy.make_acl import acl


def rules(user: str) -> list[str]:
    """The topic rules of one user."""
    blocks = acl([("hq", "gw-01"), ("north", "gw-07")]).split("\nuser ")
    [block] = [block for block in blocks if block.split("\n")[0] == user]
    return [line for line in block.split("\n") if line.startswith("topic ")]


def test_only_the_platform_publishes_commands() -> None:
    writers = [
        user
        for user in ("ingest", "platform", "reader", "gw-01", "gw-07")
        if any(rule.startswith(("topic write", "topic readwrite")) and "/down/cmd" in rule for rule in rules(user))
    ]
    assert writers == ["platform"]
    assert "topic write plantroom/v1/+/+/down/cmd/+" in rules("platform")


def test_an_agent_reads_its_own_commands_and_answers_below_its_own_topics() -> None:
    assert rules("gw-01") == [
        "topic write plantroom/v1/hq/gw-01/up/#",
        "topic read plantroom/v1/hq/gw-01/up/status",
        "topic read plantroom/v1/hq/gw-01/down/#",
    ]


def test_ingest_writes_acknowledgements_only() -> None:
    assert [rule for rule in rules("ingest") if "write" in rule] == ["topic write plantroom/v1/+/+/down/ack"]
