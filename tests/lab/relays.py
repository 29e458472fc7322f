"""Cases of connect.py about relays: coturn in place of ours, and strangers' clients at ours."""
import json
import os
import re
import subprocess as sp
import sys

import lab
import matrix
from bench import HIGHER, LOWER
from connecting import ONE_WAY
from parties import Absent, Chromium, Failed
from servers import SECRET, credentials, uclient
from stage import SMALL

FIGURES = {
    "seen": ("packets between the hidden one and others", "", LOWER), "good_calls": ("good calls", "calls", HIGHER), "bad_calls": ("other calls", "calls", LOWER),
    "came_back": ("messages that came back, all ways", "", HIGHER), "least_came_back": ("the same, the worst way", "", HIGHER),
    "udp_frames": ("pictures through UDP", "", HIGHER), "tcp_frames": ("pictures through TCP", "", HIGHER), "tls_frames": ("pictures through TLS", "", HIGHER),
    "udp_setup": ("join to the first picture, UDP", "ms", LOWER), "tcp_setup": ("join to the first picture, TCP", "ms", LOWER),
    "tls_setup": ("join to the first picture, TLS", "ms", LOWER),
    "not_refused": ("abuses not refused with the right error", "", LOWER), "tried": ("abuses tried", "", HIGHER), "afterwards": ("messages that came back afterwards", "", HIGHER),
}
BOUNDS = {
    "hidden": {"seen": 0, "wrongly_shown": 0}, "coturn": {"bad_calls": 0}, "name": {"bad_calls": 0}, "clients": {"least_came_back": 1}, "chromium": {"udp_frames": 50, "tcp_frames": 50, "tls_frames": 50},
    "abuse": {"not_refused": 0, "afterwards": 1},
}
# A relay from outside is reached like this: words of turnutils_uclient, and the kind of address for others.
WAYS = {"udp": [], "tcp": ["-t"], "tls": ["-t", "-S"]}


def calls(stage, pairs, named=False):
    """One call of each pair of routers; how many were good and honest, and how many were not."""
    home = {kind: number for number, kind in stage.kinds.items()}
    good = bad = 0
    for first, second in pairs:
        result = matrix.call(stage, home[first], home[second], f"{good + bad}-{first}-{second}", named)
        fine = result["good"] and result["honest"]
        good, bad = good + fine, bad + (not fine)
        if not fine:
            print(f"    {first} x {second}: expected {result['expected']}, went {result['truth']}, shown {result['shown']} {result.get('why', '')}", flush=True)
    return {"good_calls": good, "bad_calls": bad}


def coturn(stage):
    """coturn as the relay in place of ours: UDP, TCP, TLS and both versions of IP."""
    stage.homes("symmetric", "portrestricted", "udpblocked", "tls443", "proxyonly", "ipv6only", delay=ONE_WAY)
    stage.serve("coturn")
    return calls(stage, [("symmetric", "portrestricted"), ("portrestricted", "udpblocked"), ("udpblocked", "symmetric"), ("tls443", "portrestricted"),
                         ("proxyonly", "udpblocked"), ("ipv6only", "symmetric"), ("tls443", "ipv6only")])


def name(stage):
    """The server by its name, over every rung and both versions of IP."""
    stage.homes("symmetric", "portrestricted", "udpblocked", "tls443", "proxyonly", "ipv6only", delay=ONE_WAY)
    if not os.path.exists(f"/etc/netns/{lab.ns('srv')}/hosts"):
        raise Absent("only root can give the lab names")
    stage.serve()
    return calls(stage, [("portrestricted", "symmetric"), ("udpblocked", "portrestricted"), ("tls443", "symmetric"), ("proxyonly", "tls443"), ("ipv6only", "udpblocked")], True)


def hidden(stage):
    """One of two people hides their address, though a direct path could be had."""
    stage.homes("fullcone", "fullcone", "fullcone", delay=ONE_WAY)
    stage.serve()
    link = stage.link()
    people = [stage.join(1, link), stage.join(2, link, words=(*SMALL, "--hide-address")), stage.join(3, link)]
    stage.everyone_sees(people)
    stage.sleep(6)
    names = {person.me(): person.home for person in people}
    away = [home for home in names.values() if home != 2]
    # Whatever went between the hidden one and another, from the first packet on.
    seen = sum(p.remote == lab.home(2)["public"] for home in away for p in stage.packets(home))
    seen += sum(p.remote in [lab.home(home)["public"] for home in away] for p in stage.packets(2))
    wrong = sum(person.shown(peer) != ("turn-udp" if 2 in (home, person.home) else "direct") for person in people for peer, home in names.items() if home != person.home)
    stage.part(*people)
    return {"seen": seen, "wrongly_shown": wrong}


def came_back(said):
    """The share of messages that turnutils_uclient got back."""
    last = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", said)
    return int(last[-1][1]) / int(last[-1][0]) if last and int(last[-1][0]) else 0


def messages(node, address, way, *more, user="stranger", secret=SECRET, timeout=40):
    """What comes back through a relay, and what the client said."""
    words = [*WAYS[way], "-p", "443", "-u", user, *(["-W", secret] if secret else []), "-m", "2", "-n", "20", "-c",
             # Over TLS the client takes one message for each time it is told of some: they must not come close together.
             "-z", "300" if way == "tls" else "100", *more]
    status, said = uclient(node, *words, address, timeout=timeout)
    return (came_back(said) if status == 0 else 0), said


def clients(stage):
    """turnutils_uclient of coturn at our relay: UDP, TCP and TLS on port 443, both versions of IP."""
    stage.homes("none", "ipv6only", delay=ONE_WAY)
    stage.serve()
    shares = []
    for node, address, more in (("h1", stage.servers.relay_host(), []), ("h2", stage.servers.relay_host("6"), ["-x"])):
        for way in WAYS:
            # -y: pairs of clients that talk to each other, each through a relay of its own.
            share, said = messages(node, address, way, "-y", *more)
            shares.append(share)
            if share < 1:
                print(f"    {way} at {address}: {share:.0%} came back: {said.strip().splitlines()[-1:]}", flush=True)
                with open(f"{stage.folder}/uclient-{node}-{way}.log", "w") as f:
                    f.write(said)
    return {"came_back": round(sum(shares) / len(shares), 3), "least_came_back": round(min(shares), 3)}


def chromium(stage):
    """Two Chromiums with nothing but our relay between them: UDP, TCP and TLS on port 443."""
    Chromium.needed()
    stage.homes("none", "none", delay=ONE_WAY)
    stage.serve()
    stage.others.append(Chromium.serve(stage.folder))
    figures, relay = {}, stage.servers.relay_host()
    for way, url in (("udp", f"turn:{relay}:443?transport=udp"), ("tcp", f"turn:{relay}:443?transport=tcp"), ("tls", f"turns:{relay}:443?transport=tcp")):
        room, parties = Chromium.room(), []
        for home in (1, 2):
            user, password = credentials(f"browser{home}")
            more = {"policy": "relay", "ice": [{"urls": [url], "username": user, "credential": password}], "w": 640, "h": 360}
            party = Chromium(stage.folder, f"h{home}", f"{way}-{home}", room, True, stage.clip, more)
            parties.append(party)
            stage.others.append(party.process)
            party.entered()
        stage.sleep(8)
        for party in parties:
            party.stop()
        frames = [values[-1][1] if (values := party.figure("in", "framesDecoded")) else 0 for party in parties]
        paths = [party.path() for party in parties]
        if any(frames) and not all(path and path.startswith(f"relay/{way}-relay") for path in paths):
            raise Failed(f"over {way} the browsers went {paths}")
        first = parties[1].event("first-frame"), parties[1].event("joined")
        figures[f"{way}_frames"] = min(frames)
        figures[f"{way}_setup"] = round((first[0] - first[1]) * 1000) if all(first) else None
    return figures


# What nobody may be sent through a relay: the server itself, and what only it reaches.
FORBIDDEN = ("127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.1", "255.255.255.255", "192.168.1.1", "10.1.1.1", "172.16.1.1")
UNAUTHORIZED, FORBIDDEN_ERROR = 401, 403


def abuse(stage):
    """Expired and forged credentials, and relaying to where nobody may: refused, and others go on."""
    stage.homes("none", delay=ONE_WAY)
    stage.serve()
    relay = stage.servers.relay_host()
    (old, old_password), (user, password) = credentials("old", -60), credentials("peer")
    forged = "A" + password[1:] if password[0] != "A" else "B" + password[1:]
    bad = [(old, old_password), (user, forged), (f"{int(user.split(':')[0]) + 9999}:peer", password), ("nobody", "nothing")]
    questions = [{"user": u, "password": p, "peers": []} for u, p in bad] + [{"user": user, "password": password, "peers": [*FORBIDDEN, lab.home(1)["addrs"][0]]}]
    ran = sp.run(lab.exec_command("h1", [sys.executable, f"{lab.HERE}/stranger.py", relay, "443", json.dumps(questions)]), capture_output=True, text=True, timeout=120)
    if ran.returncode:
        raise Failed(f"stranger.py: {ran.stderr.strip().splitlines()[-1]}")
    *bad, fair = json.loads(ran.stdout)
    with open(f"{stage.folder}/answers.json", "w") as f:
        json.dump([bad, fair], f, indent=1)
    *forbidden, allowed = fair["peers"].values() or [None]
    if fair["allocation"] != 0 or allowed != 0:
        raise Failed(f"what everybody may do was refused: {fair}")
    wrong = [a for a in bad if a["allocation"] != UNAUTHORIZED] + [p for p, code in list(fair["peers"].items())[:-1] if code != FORBIDDEN_ERROR]
    if wrong:
        print(f"    not refused with the right error: {wrong}", flush=True)
    share, _ = messages("h1", relay, "udp", "-y")
    return {"not_refused": len(wrong), "tried": len(bad) + len(forbidden), "afterwards": share}
