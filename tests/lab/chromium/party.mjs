// One headless Chromium in a call of the lab. usage: node party.mjs OPTIONS (JSON; see parties.py)
// Prints "joined" when it is in the room. On SIGINT it writes what it saw to `out` and ends.
import { chromium } from 'playwright-core';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const o = JSON.parse(process.argv[2]);
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'party-'));
const camera = o.send ? [`--use-file-for-fake-video-capture=${o.clip}`] : [];
const context = await chromium.launchPersistentContext(profile, {
  executablePath: o.chromium, headless: false,
  ignoreDefaultArgs: ['--mute-audio', '--hide-scrollbars', '--disable-dev-shm-usage'],
  handleSIGINT: false, handleSIGTERM: false,
  args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    // Relays of a lab have certificates that no browser knows.
    '--ignore-certificate-errors', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', ...camera,
    `--unsafely-treat-insecure-origin-as-secure=${o.url}`, '--autoplay-policy=no-user-gesture-required',
    '--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks,LocalNetworkAccessChecksWebRTC',
    '--disable-background-timer-throttling', '--disable-renderer-backgrounding'],
});
const page = context.pages()[0] || await context.newPage();
page.on('pageerror', error => console.error('page:', error.message));
await page.goto(`${o.url}/call.html`);
await page.evaluate(o => join(o), {
  ws: o.url.replace('http', 'ws'), ice: [], codec: 'H264', w: 1280, h: 720, fps: 30, viewW: 640,
  id: o.id, room: o.room, send: o.send, audio: o.audio, maxBitrate: o.maxBitrate, ...o.more,
});
await page.waitForFunction(() => S.events.some(e => e.name === 'joined'));
console.log('joined');
await new Promise(resolve => process.on('SIGINT', resolve));
const seen = await page.evaluate(() => ({ events: S.events, samples: S.samples }));
fs.writeFileSync(`${o.out}.part`, JSON.stringify(seen));
fs.renameSync(`${o.out}.part`, o.out);
await context.close().catch(() => {});
fs.rmSync(profile, { recursive: true, force: true });
process.exit();
