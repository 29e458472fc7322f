"""The routers of the homes: what they translate, what they let through, and how to see it from outside."""

TYPES = ("none", "fullcone", "restricted", "portrestricted", "symmetric", "udpblocked", "tcp443", "tls443", "proxyonly")
# A STUN request over TCP, by its magic cookie (RFC 8489, section 5): what a firewall that looks for
# TLS on port 443 sees of a relay in plain.
STUN_IN_TCP = "@ih,32,32 0x2112a442"


def rules(kind, lan, public, hosts, hairpin, server):
    """The nftables rules of a router. `server` is the one address that `proxyonly` may reach."""
    base = kind if kind in ("none", "fullcone", "restricted", "symmetric") else "portrestricted"
    post, pre, forward, forward6 = [], [], [], []
    if base != "none":
        # What does not come from here is not let out, as carriers have it (RFC 2827).
        forward.append(f"iifname br0 ip saddr != {lan} drop")
    first = hosts[0]
    if base != "none":
        post.append("oifname wan0 masquerade" + (" fully-random" if base == "symmetric" else ""))
    if base == "fullcone":
        pre.append(f"iifname wan0 udp dport 1024-65535 dnat to {first}")
    if base == "restricted":
        forward.append("oifname wan0 meta l4proto udp update @seen { ip daddr }")
        pre.append(f"iifname wan0 udp dport 1024-65535 ip saddr @seen dnat to {first}")
    if hairpin and len(hosts) > 1:
        for a, b in ((hosts[0], hosts[1]), (hosts[1], hosts[0])):
            pre.append(f"iifname br0 ip saddr {a} ip daddr {public} udp dport 1024-65535 dnat to {b}")
        post.append(f"oifname br0 ip saddr {lan} ip daddr {lan} masquerade")
    if kind == "udpblocked":
        blocked = ["oifname wan0 meta l4proto udp counter drop"]
    elif kind == "tcp443":
        blocked = ["oifname wan0 tcp dport 443 accept", "oifname wan0 counter drop"]
    elif kind == "tls443":
        blocked = [f"oifname wan0 tcp dport 443 {STUN_IN_TCP} counter drop", "oifname wan0 tcp dport 443 accept", "oifname wan0 counter drop"]
    elif kind == "proxyonly":
        blocked = [f"oifname wan0 ip daddr {server} tcp dport 3128 accept", "oifname wan0 counter drop"]
    else:
        blocked = []
    forward += blocked
    forward6 += [rule for rule in blocked if "ip daddr" not in rule]
    if base != "none":
        forward += ["iifname wan0 ct status dnat accept", "iifname wan0 ct state new counter drop"]
        # Under IPv6 nothing is translated: a home's router is a firewall that keeps state.
        forward6 += ["iifname wan0 meta l4proto ipv6-icmp accept", "iifname wan0 ct state new counter drop"]
    indented = "\n  ".join
    # Dropping new packets on input matters: an answered (even refused) early packet would
    # confirm a conntrack entry and push the later outgoing flow to another port.
    return f"""table ip lab
delete table ip lab
table ip lab {{
 set seen {{
  type ipv4_addr
  flags dynamic,timeout
  timeout 120s
 }}
 chain pre {{
  type nat hook prerouting priority dstnat
  {indented(pre)}
 }}
 chain post {{
  type nat hook postrouting priority srcnat
  {indented(post)}
 }}
 chain flt {{
  type filter hook forward priority filter
  {indented(forward)}
 }}
 chain loc {{
  type filter hook input priority filter
  iifname wan0 meta l4proto {{ tcp, udp }} ct state new drop
 }}
}}
table ip6 lab
delete table ip6 lab
table ip6 lab {{
 chain flt {{
  type filter hook forward priority filter
  {indented(forward6)}
 }}
}}
"""


# Answers probes on two addresses and two ports of the server.
PROBE_SERVER = r'''
import select, socket
S = [(a, p) for a in ("192.0.2.10", "192.0.2.11") for p in (5001, 5002)]
ss = {k: socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for k in S}
for k, s in ss.items(): s.bind(k)
def tcp(port):
    t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); t.bind(("192.0.2.10", port)); t.listen(8); return t
t = [tcp(443), tcp(8080)]
print("ready", flush=True)
while True:
    for s in select.select([*ss.values(), *t], [], [], 20)[0] or [None]:
        if s is None: raise SystemExit
        if s in t: s.accept()[0].close(); continue
        m, a = s.recvfrom(999)
        w = m.decode().split()
        out = ss[(w[1], int(w[2]))] if len(w) > 2 else s    # "via IP PORT": answer from elsewhere
        out.sendto(f"{a[0]} {a[1]}".encode(), a)
'''

# Asks from inside a home, and prints what follows from the answers.
PROBE_CLIENT = r'''
import socket
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("", 40123)); u.settimeout(.6)
def ask(a, p, m="hi"):
    u.sendto(m.encode(), (a, p))
    try: return u.recvfrom(999)[0].decode()
    except OSError: return None
f = [ask("192.0.2.10", 5001, "via 192.0.2.10 5002"), ask("192.0.2.10", 5001, "via 192.0.2.11 5001")]
u.close()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("", 40124)); u.settimeout(.6)
m = [ask("192.0.2.10", 5001), ask("192.0.2.10", 5002), ask("192.0.2.11", 5001)]
def tcp(p):
    try: socket.create_connection(("192.0.2.10", p), 1).close(); return True
    except OSError: return False
print("udp:", "open" if m[0] else "blocked", "| mappings seen:", m)
if m[0]: print("mapping:", "endpoint-independent" if m[0] == m[1] == m[2] else "endpoint-dependent (symmetric)", "| filtering:", "endpoint-independent" if f[1] else "address-dependent" if f[0] else "address-and-port-dependent")
print("tcp 443:", tcp(443), "| tcp 8080:", tcp(8080))
'''

# An HTTP proxy that knows CONNECT, for homes that reach nothing else.
PROXY = r'''
import asyncio
async def pump(r, w):
    try:
        while (d := await r.read(65536)): w.write(d); await w.drain()
    except OSError: pass
    w.close()
async def serve(r, w):
    line = (await r.readline()).decode().split()
    while (await r.readline()).strip(): pass
    if len(line) < 2 or line[0] != "CONNECT":
        w.write(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n"); w.close(); return
    h, p = line[1].rsplit(":", 1)
    try: r2, w2 = await asyncio.open_connection(h, int(p))
    except OSError: w.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"); w.close(); return
    w.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(pump(r, w2), pump(r2, w))
async def main(): await (await asyncio.start_server(serve, "192.0.2.10", 3128)).serve_forever()
asyncio.run(main())
'''
