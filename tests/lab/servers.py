"""The server of a lab: meetings over HTTPS with a certificate of the lab's own, and its relay.

    srv 192.0.2.10, 2001:db8:ffff::10   nonstop-server: HTTPS and TURN on 443; in plain on 10.0.0.10:4433
    the same addresses   the relay of large calls: UDP on 444, in plain on 4434
    srv 192.0.2.11, 2001:db8:ffff::11   coturn, where a case asks for it: TURN over UDP, TCP and TLS on 443
"""
import base64
import hashlib
import hmac
import os
import secrets
import shutil
import signal
import subprocess as sp
import time

import lab
from parties import Absent, programs, wait_for

# What the relays share with the server that hands out credentials.
SECRET = "a secret of the lab"
REALM = "lab.test"
PLAIN = f"{lab.MEET}:4433"
PROXY = f"http://{lab.SRV}:3128"
# Where the relay of large calls listens: the ports after those of the meetings.
RELAY_PORTS = {444, 4434}


def certificate(folder):
    """Makes an authority and a certificate for every address of the server; returns their files."""
    ca, key, cert = f"{folder}/ca.pem", f"{folder}/key.pem", f"{folder}/cert.pem"
    if os.path.exists(cert):
        return ca, key, cert
    if not shutil.which("openssl"):
        raise Absent("openssl is not installed: no certificate can be made")
    os.makedirs(folder, exist_ok=True)
    names = ",".join([f"DNS:{lab.NAME}", *(f"IP:{address}" for address in sorted(lab.SERVERS))])
    with open(f"{folder}/ext", "w") as f:
        f.write(f"subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\n")
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    lab.sh(f"openssl req -x509 {curve} -keyout {folder}/ca.key -out {ca} -days 30 -subj '/CN=Lab authority'"
           " -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign")
    lab.sh(f"openssl req {curve} -keyout {key} -out {folder}/req.pem -subj /CN={lab.NAME}")
    lab.sh(f"openssl x509 -req -in {folder}/req.pem -CA {ca} -CAkey {folder}/ca.key -CAcreateserial -days 30 -extfile {folder}/ext -out {cert}")
    return ca, key, cert


def credentials(name, lifetime=3600):
    """User name and password for a relay that shares the secret (draft-uberti-behave-turn-rest-00)."""
    user = f"{int(time.time()) + lifetime}:{name}"
    return user, base64.b64encode(hmac.new(SECRET.encode(), user.encode(), hashlib.sha1).digest()).decode()


def new_link(base):
    """A link to a new meeting."""
    secret = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
    return f"{base}/lab-{secrets.token_hex(6)}#{secret}"


def seen_from(link, node_speaks):
    """The same meeting, at the address that a host of this family reaches."""
    return link.replace(lab.SRV, f"[{lab.SRV6}]") if node_speaks == "6" else link


class Servers:
    """Everything that runs on srv, each with a log in `folder`."""

    def __init__(self, folder, relay="own", ipv6=True, words=()):
        self.folder, self.relay, self.ipv6, self.words = folder, relay, ipv6, words
        self.ca, self.key, self.cert = certificate(f"{folder}/certificate")
        self.running = {}
        if relay == "coturn":
            self.start_coturn()
        self.start_meetings()
        self.start("proxy", [shutil.which("python3"), "-c", lab.nat.PROXY])

    def start(self, name, command, ready=None, folder=None):
        log = f"{self.folder}/{name}.log"
        with open(log, "a") as f:
            at = f.tell()
            process = lab.start("srv", command, stdout=f, stderr=f, cwd=folder)
        self.running[name] = process

        def up():
            if process.poll() is not None:
                raise lab.LabError(f"{name} ended: see {log}")
            with open(log) as f:
                f.seek(at)
                return ready in f.read()
        if ready:
            wait_for(up, name)
        return process

    def start_meetings(self):
        """Our server, twice: with a certificate on 443, and in plain for private addresses."""
        tls = [f"{programs()}/nonstop-server", "--listen", f"{lab.SRV}:443", *(["--listen", f"[{lab.SRV6}]:443"] if self.ipv6 else []),
               "--tls-certificate", self.cert, "--tls-key", self.key]
        plain = [f"{programs()}/nonstop-server", "--listen", PLAIN]
        for name, command in (("meetings", tls), ("plain-meetings", plain)):
            self.start(name, [*command, *self.relay_words(name), *self.words], "listening")

    def relay_words(self, name):
        if self.relay == "own":
            # Who comes in plain reaches a private address, from which nobody can be relayed to the others.
            public = ["--turn-relay-ip", lab.SRV, *(["--turn-relay-ip", lab.SRV6] if self.ipv6 else [])] if name == "plain-meetings" else []
            return ["--turn-secret", SECRET, *public]
        v4 = [f"{lab.SRV2}"]
        hosts = v4 + ([f"[{lab.SRV6_2}]"] if self.ipv6 else [])
        urls = [f"stun:{host}:3478" for host in hosts] + [f"turn:{host}:3478?transport=udp" for host in hosts]
        urls += [f"turn:{host}:443?transport=tcp" for host in hosts] + [f"turns:{host}:443?transport=tcp" for host in hosts]
        return [word for url in urls for word in ("--ice-server", url)] + ["--turn-secret", SECRET]

    def relay_host(self, family="4"):
        """The address of the relay; it answers UDP, TCP and TLS on port 443."""
        return {("own", "4"): lab.SRV, ("own", "6"): lab.SRV6, ("coturn", "4"): lab.SRV2, ("coturn", "6"): lab.SRV6_2}[self.relay, family]

    def start_coturn(self):
        if not shutil.which("turnserver"):
            raise Absent("turnserver is not installed (package coturn)")
        addresses = [lab.SRV2] + ([lab.SRV6_2] if self.ipv6 else [])
        words = ["turnserver", "-n", "--no-cli", "--log-file=stdout", "--simple-log", "--use-auth-secret", f"--static-auth-secret={SECRET}",
                 f"--realm={REALM}", "--listening-port=3478", "--tls-listening-port=443", f"--cert={self.cert}", f"--pkey={self.key}",
                 f"--userdb={self.folder}/coturn.db", f"--pidfile={self.folder}/coturn.pid", "--no-rfc5780", "--fingerprint"]
        words += [f"--{role}-ip={address}" for role in ("listening", "relay") for address in addresses]
        self.start("coturn", words, "SQLite DB connection success")

    def kill_meetings(self):
        """Ends our servers as a crash would."""
        for name in ("meetings", "plain-meetings"):
            process = self.running.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait()

    def environment(self, kind="none"):
        """What a participant behind this kind of router needs to be told."""
        own = {"NONSTOP_EXTRA_ROOTS": self.ca, "NONSTOP_CONFIG_DIR": f"{self.folder}/settings"}
        if kind == "proxyonly":
            own.update(HTTPS_PROXY=PROXY, https_proxy=PROXY)
        return {**{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}, **own}

    def close(self):
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        self.running = {}


def uclient(node, *words, timeout=30):
    """Runs coturn's test client on a node; returns its exit status and what it said."""
    if not shutil.which("turnutils_uclient"):
        raise Absent("turnutils_uclient is not installed (package coturn)")
    try:
        ran = sp.run(lab.exec_command(node, ["turnutils_uclient", *words]), capture_output=True, text=True, timeout=timeout)
    except sp.TimeoutExpired as late:
        return None, f"not done after {timeout} s: {(late.stdout or b'').decode(errors='replace')}"
    return ran.returncode, ran.stdout + ran.stderr
