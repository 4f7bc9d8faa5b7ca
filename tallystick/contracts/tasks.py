"""Tasks: the record that the end of each supervised task leaves in `task.exits`."""

import msgspec


class TaskExit(msgspec.Struct, frozen=True, omit_defaults=True):
    """The end of one run of a task, whichever way it ended.

    `task` is its path, such as `atproto/firehose/bsky.network`; `reason` one of finished, failed, killed, cancelled,
    out_of_memory. `exit_code` is None where a signal, named in `signal`, ended it. `error` is the last error that it
    told, without secrets; `next` what its supervisor does about it, empty where that is nothing. `at` is canonical.
    """

    task: str
    host: str
    pid: int
    reason: str
    at: str
    ran_seconds: float
    exit_code: int | None = None
    signal: str = ""
    error: str = ""
    next: str = ""


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(TaskExit).decode
