"""The inventories on both databases: what the tables hold, by any batches, and by several processes at once."""

from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
import sqlalchemy as sa

from sinks.inventories import Inventories
from tallystick.contracts import cowrie
from tallystick.contracts.cowrie import First, InjectedSeen, LoginSeen, SessionState, TunnelSeen
from tallystick.database.engine import make_engine
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.inventories import FINGERPRINTS, KEYS, dump, empty, moment, naive, newest, random_state, told, write
from tests.sinks import query, running, wait_for_rows

T1, T2, T3 = moment(1), moment(2), moment(3)


def state(session: str, revision: int, **more: object) -> SessionState:
    """Return a session of one address that tried two passwords, injected two keys and asked for a tunnel."""
    key = "ssh-ed25519"
    fields = {
        "first_event_at": T1,
        "last_event_at": T3,
        "src_ip": First(T1, "192.0.2.1"),
        "client_version": First(T1, "SSH-2.0-Go"),
        "hassh": First(T1, "aa"),
        "logins": [
            LoginSeen(2, T1, T2, 0, username="root", password="x", succeeded=False),
            LoginSeen(1, T3, T3, 9, username="pi", password="x", succeeded=True),
        ],
        "injected": [
            InjectedSeen(1, T2, T2, 5, type=key, blob=KEYS[key], fingerprint=FINGERPRINTS[key], comment="me", bits=256),
            InjectedSeen(1, T3, T3, 6, type="ssh-dss", blob=KEYS["ssh-dss"], fingerprint=FINGERPRINTS["ssh-dss"]),
        ],
        "tunnels": [TunnelSeen(3, T2, T2, 7, dst_ip="mail.example", dst_port=25)],
    }
    return SessionState("vm", session, revision=revision, **(fields | more))  # type: ignore[arg-type]


def test_what_two_sessions_tell(engine: sa.Engine) -> None:
    write(engine, [state("a", 1), state("b", 1, src_ip=First(T1, "192.0.2.2"), logins=[])])
    tables = {
        "ip_inventory": "SELECT ip_address, session_count FROM ip_inventory ORDER BY 1",
        "client_versions": "SELECT client_version, session_count FROM client_versions",
        "hassh_inventory": "SELECT hassh, session_count FROM hassh_inventory",
        "password_session_usage": "SELECT session_id, username, success, attempts FROM password_session_usage",
        "password_tracking": "SELECT password_text, times_seen, unique_sessions FROM password_tracking",
        "password_statistics": "SELECT total_attempts, unique_passwords, novel_count FROM password_statistics",
        "ssh_key_intelligence": "SELECT key_type, key_bits, key_comment, total_attempts, unique_sources"
        " FROM ssh_key_intelligence ORDER BY key_bits",
        "ssh_key_associations": "SELECT co_occurrence_count, same_session_count, same_ip_count"
        " FROM ssh_key_associations",
        "tunnel_targets": "SELECT dst_ip, dst_port, requests, session_count FROM tunnel_targets",
    }
    found = {name: sorted(query(engine, text), key=repr) for name, text in tables.items()}
    assert found == {
        "ip_inventory": [("192.0.2.1", 1), ("192.0.2.2", 1)],
        "client_versions": [("SSH-2.0-Go", 2)],
        "hassh_inventory": [("aa", 2)],
        "password_session_usage": [("a", "root", True, 3)],
        "password_tracking": [("x", 3, 1)],
        "password_statistics": [(3, 1, 1)],
        "ssh_key_intelligence": [("ssh-dss", None, None, 2, 2), ("ssh-ed25519", 256, "me", 2, 2)],
        "ssh_key_associations": [(2, 2, 2)],
        "tunnel_targets": [("mail.example", 25, 6, 2)],
    }


def test_joins_by_the_ids_that_people_know(engine: sa.Engine) -> None:
    write(engine, [state("a", 1)])
    by_password = "SELECT session_id FROM password_session_usage u JOIN password_tracking t ON t.id = u.password_id"
    by_key = "SELECT session_id FROM session_ssh_keys s JOIN ssh_key_intelligence k ON k.id = s.ssh_key_id"
    by_pair = "SELECT 1 FROM ssh_key_associations a JOIN ssh_key_intelligence k ON k.id IN (a.key_id_1, a.key_id_2)"
    assert [len(query(engine, text)) for text in (by_password, by_key, by_pair)] == [1, 2, 2]


@pytest.mark.parametrize("seed", range(8))
def test_any_batches_make_the_tables_that_the_newest_states_make(engine: sa.Engine, seed: int) -> None:
    random = Random(seed)
    states = [random_state(random, session, revision) for session in "abcdef" for revision in range(3)]
    sent = states + random.sample(states, 6)
    random.shuffle(sent)
    while sent:
        size = random.randint(1, 8)
        batch, sent = sent[:size], sent[size:]
        write(engine, batch)
    moved = dump(engine)
    assert told(engine) == naive(states)
    empty(engine)
    write(engine, newest(states))
    assert moved == dump(engine)


def test_several_processes_neither_deadlock_nor_lose_anything(place: Settings, engine: sa.Engine) -> None:
    random = Random(7)
    states = [random_state(random, str(number), 1) for number in range(200)]

    def work(part: int) -> None:
        mine = make_engine(place)
        for start in range(part, 200, 20):
            write(mine, states[start : start + 20 : 4])
        mine.dispose()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert told(engine) == naive(states)


def test_states_from_kafka_and_what_hostile_text_they_hold(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    hostile = "\t\\N\n'; DROP TABLE x; --\u2028\U0001f40d"
    told_state = state(
        "a",
        1,
        src_ip=First(T1, hostile),
        logins=[LoginSeen(1, T1, T1, 0, username=hostile, password=hostile, succeeded=True)],
        tunnels=[TunnelSeen(1, T1, T1, 0, dst_ip=hostile)],
    )
    topic = place.kafka.topic(cowrie.SESSIONS)
    with running(place, Inventories.name):
        for newer in (state("a", 0), told_state, state("a", 0)):
            publisher.send(topic, key=cowrie.session_key("vm", "a"), value=cowrie.encode_state(newer))
        publisher.send(topic, key=b"?", value=b"{}")
        wait_for_rows(engine, "SELECT password_text, times_seen FROM password_tracking", (hostile, 1))
        wait_for_rows(engine, "SELECT ip_address FROM ip_inventory", (hostile,))
        wait_for_rows(engine, "SELECT dst_ip, dst_port FROM tunnel_targets", (hostile, -1))
