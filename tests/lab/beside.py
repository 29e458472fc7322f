"""What Chromium needs at the same place: joins between browsers, behind the same routers, through the same relay."""
import lab
from connecting import JOINS, ONE_WAY
from parties import Chromium, Failed
from servers import credentials
from truth import best, worse


def join(host, newcomer):
    """Browsers in place of our own program in the case of this name."""
    expected = best(host, newcomer)

    def drive(stage):
        Chromium.needed()
        stage.homes(host, newcomer, delay=ONE_WAY)
        stage.serve()
        stage.others.append(Chromium.serve(stage.folder, (lab.SRV2, 443)))
        figures = {key: [] for key in ("first_picture", "connected")}
        for number in range(JOINS):
            room, parties = Chromium.room(), []
            for home, label in ((1, "there"), (2, "comer")):
                party = Chromium(stage.folder, f"h{home}", f"{number}-{label}", room, True, stage.clip, {"ice": servers(stage)})
                parties.append(party)
                stage.others.append(party.process)
                party.entered()
            stage.sleep(4)
            rung = worse(*(flow and flow[1] for flow in (stage.truth(1), stage.truth(2))))
            for party in parties:
                party.stop()
            if rung != expected:
                raise Failed(f"call {number} of the browsers went {rung}, not {expected}")
            comer = parties[1]
            joined, picture, connected = (comer.event(name) for name in ("joined", "first-frame", "state:connected"))
            if not picture:
                raise Failed(f"call {number} of the browsers had no picture")
            figures["first_picture"].append(round((picture - joined) * 1000))
            figures["connected"].append(round((connected - joined) * 1000))
        return figures
    drive.__doc__ = f"Chromium: join to the first picture, {expected}."
    return drive


def servers(stage):
    """What our server tells its participants."""
    relay = stage.servers.relay_host()
    user, password = credentials("browser")
    urls = [f"turn:{relay}:443?transport=udp", f"turn:{relay}:443?transport=tcp", f"turns:{relay}:443?transport=tcp"]
    return [{"urls": [f"stun:{relay}:443"]}, {"urls": urls, "username": user, "credential": password}]
