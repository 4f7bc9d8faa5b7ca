"""Roles as supervised processes, none of which ends without a record of why.

`exits` says how a process ended, `restarting` decides what follows, `supervisor` starts, watches and stops them;
`nursery` lets them be forked from a `template` that has imported what they need;
`child` and `roles` are what runs on the other side, inside each role's own process. `standing` is how a task stands
after all that, `records` keeps it: in files (`exit_files`) and in Kafka (`exit_topic`).
"""
