// One party of a call. join(options) enters the room; the newcomer offers to everyone already there.
const S = { pcs: {}, samples: [], events: [] };
window.S = S;
// Milliseconds since 1970: all parties are on one machine and share its clock.
const now = () => performance.timeOrigin + performance.now();
const ev = (name, extra) => S.events.push({ t: now(), name, ...extra });

function codecs(name) {
  const all = RTCRtpSender.getCapabilities('video').codecs;
  const main = all.filter(c => c.mimeType.toLowerCase() === 'video/' + name.toLowerCase() && (name !== 'H264' || /packetization-mode=1/.test(c.sdpFmtpLine) && /profile-level-id=42e0/.test(c.sdpFmtpLine)));
  return [...main, ...all.filter(c => /rtx$/.test(c.mimeType))];
}

async function join(o) {
  S.o = o; ev('join');
  if (o.send) {
    S.stream = await navigator.mediaDevices.getUserMedia({ video: { width: o.w, height: o.h, frameRate: o.fps }, audio: !!o.audio });
    ev('media', { settings: S.stream.getVideoTracks()[0].getSettings() });
    if (o.hint) S.stream.getVideoTracks()[0].contentHint = o.hint;
  }
  const ws = S.ws = new WebSocket(o.ws);
  ws.onmessage = async e => {
    const m = JSON.parse(e.data);
    if (m.peers) { ev('joined'); for (const p of m.peers) offer(p, 0); return; }
    const pc = peer(m.from, m.pc);
    if (m.data.sdp) {
      await pc.setRemoteDescription(m.data);
      if (m.data.type === 'offer') { await pc.setLocalDescription(); send(m.from, m.pc, pc.localDescription); } 
      tune(pc);
    } else if (m.data.candidate !== undefined) await pc.addIceCandidate(m.data).catch(() => {});
  };
  ws.onopen = () => ws.send(JSON.stringify({ join: o.room, id: o.id }));
  S.timer = setInterval(sample, o.sampleMs || 200);
}
const send = (to, pc, data) => S.ws.send(JSON.stringify({ to, pc, data }));
function peer(who, k) {
  const key = who + '#' + k;
  if (S.pcs[key]) return S.pcs[key];
  const o = S.o, pc = S.pcs[key] = new RTCPeerConnection({ iceServers: o.ice || [], iceTransportPolicy: o.policy || 'all' });
  ev('pc', { key });
  pc.onicecandidate = e => e.candidate && send(who, k, e.candidate.toJSON());
  pc.onconnectionstatechange = () => ev('state:' + pc.connectionState, { key });
  pc.oniceconnectionstatechange = () => ev('ice:' + pc.iceConnectionState, { key });
  pc.ontrack = e => {
    if (e.track.kind !== 'video') { const a = new Audio(); a.srcObject = new MediaStream([e.track]); a.play().catch(() => {}); return; }
    const v = document.createElement('video'); v.autoplay = v.muted = true; v.playsInline = true;
    v.width = o.viewW || 160; v.srcObject = new MediaStream([e.track]); document.body.append(v);
    v.requestVideoFrameCallback((t, m) => ev('first-frame', { key, w: m.width, h: m.height }));
  };
  if (o.send) for (const t of S.stream.getTracks()) {
    const s = pc.addTrack(t, S.stream);
    if (t.kind === 'video' && o.codec) pc.getTransceivers().find(x => x.sender === s).setCodecPreferences(codecs(o.codec));
  }
  return pc;
}
async function offer(who, k) { const pc = peer(who, k); await pc.setLocalDescription(); send(who, k, pc.localDescription); }
async function tune(pc) {
  for (const s of pc.getSenders()) if (s.track?.kind === 'video') {
    const p = s.getParameters(); if (!p.encodings?.length) continue;
    p.encodings[0].maxBitrate = S.o.maxBitrate || 2500000; if (S.o.degradation) p.degradationPreference = S.o.degradation;
    await s.setParameters(p).catch(e => ev('setParameters', { e: '' + e }));
  }
}
const pick = (r, ks) => Object.fromEntries(ks.filter(k => r[k] !== undefined).map(k => [k, r[k]]));
async function sample() {
  for (const [key, pc] of Object.entries(S.pcs)) {
    const t = now(), x = { t, key };
    const st = await pc.getStats(); let tr;
    st.forEach(r => {
      if (r.type === 'outbound-rtp' && r.kind === 'video') x.out = pick(r, ['bytesSent', 'headerBytesSent', 'retransmittedBytesSent', 'packetsSent', 'framesEncoded', 'framesPerSecond', 'frameWidth', 'frameHeight', 'qualityLimitationReason', 'totalEncodeTime', 'targetBitrate', 'qpSum', 'totalPacketSendDelay', 'encoderImplementation', 'nackCount', 'pliCount', 'qualityLimitationResolutionChanges', 'keyFramesEncoded']);
      else if (r.type === 'inbound-rtp' && r.kind === 'video') x.in = pick(r, ['bytesReceived', 'headerBytesReceived', 'packetsReceived', 'packetsLost', 'framesDecoded', 'framesReceived', 'framesDropped', 'framesPerSecond', 'frameWidth', 'frameHeight', 'jitterBufferDelay', 'jitterBufferTargetDelay', 'jitterBufferEmittedCount', 'totalDecodeTime', 'totalProcessingDelay', 'totalAssemblyTime', 'freezeCount', 'totalFreezesDuration', 'decoderImplementation', 'retransmittedPacketsReceived', 'fecPacketsReceived', 'jitter']);
      else if (r.type === 'inbound-rtp' && r.kind === 'audio') x.audio = pick(r, ['packetsReceived', 'packetsLost', 'concealedSamples']);
      else if (r.type === 'remote-inbound-rtp' && r.kind === 'video') x.rin = pick(r, ['roundTripTime', 'fractionLost', 'packetsLost', 'jitter']);
      else if (r.type === 'transport') tr = r;
    });
    const cp = tr && st.get(tr.selectedCandidatePairId);
    if (cp) { x.cp = pick(cp, ['availableOutgoingBitrate', 'currentRoundTripTime', 'bytesSent', 'bytesReceived']);
      const l = st.get(cp.localCandidateId), r = st.get(cp.remoteCandidateId);
      x.path = `${l?.candidateType}/${l?.relayProtocol || l?.protocol}-${r?.candidateType}`; }
    S.samples.push(x);
  }
}
function leave() { clearInterval(S.timer); for (const p of Object.values(S.pcs)) p.close(); S.ws?.close(); }
