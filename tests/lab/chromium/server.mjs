// The page of a call and its WebSocket signalling. usage: node server.mjs ADDRESS PORT
import http from 'node:http'; import fs from 'node:fs'; import path from 'node:path'; import { WebSocketServer } from 'ws';
const [addr, port] = [process.argv[2], +process.argv[3]], here = path.dirname(new URL(import.meta.url).pathname);
const types = { '.html': 'text/html', '.js': 'text/javascript' };
const srv = http.createServer((q, r) => {
  const f = path.join(here, path.basename(q.url.split('?')[0]) || 'call.html');
  if (!fs.existsSync(f)) { r.writeHead(404); return r.end(); }
  r.writeHead(200, { 'content-type': types[path.extname(f)] || 'text/plain' }); fs.createReadStream(f).pipe(r);
});
const rooms = new Map();
new WebSocketServer({ server: srv }).on('connection', ws => {
  let room, id;
  ws.on('message', m => {
    m = JSON.parse(m);
    if (m.join) { [room, id] = [m.join, m.id]; const r = rooms.get(room) || rooms.set(room, new Map()).get(room);
      ws.send(JSON.stringify({ peers: [...r.keys()] })); r.set(id, ws);
    } else rooms.get(room)?.get(m.to)?.send(JSON.stringify({ from: id, data: m.data, pc: m.pc }));
  });
  ws.on('close', () => rooms.get(room)?.delete(id));
});
srv.listen(port, addr, () => console.log('listening'));
