/** Debian's nginx, with a configuration of our own in a folder of its own: one worker, no logs, kept-alive connections. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { endChild, type Peer, startChild } from './child.ts'

const startTimeoutMs = 5_000
const connectionsMax = 8_192

/** A server that answers every request at once with these bytes. */
export const startNginxAnswering = (json: string): Promise<Peer> =>
  startNginx(port => `server { ${listenOn(port)} location / { default_type application/json; return 200 '${json}'; } }`)

/** A proxy that does nothing but pass on. */
export const startNginxProxy = (upstreamUrl: string, { buffering }: { buffering: boolean }): Promise<Peer> =>
  startNginx(
    port => `
    upstream peer { server ${new URL(upstreamUrl).host}; keepalive 1024; keepalive_requests 1000000000; }
    server {
      ${listenOn(port)}
      location / {
        proxy_pass http://peer;
        proxy_http_version 1.1;
        proxy_set_header Connection '';
        proxy_buffering ${buffering ? 'on' : 'off'};
        proxy_read_timeout 600s;
      }
    }`,
  )

const listenOn = (port: number): string => `listen 127.0.0.1:${port}; keepalive_requests 1000000000;`

async function startNginx(server: (port: number) => string): Promise<Peer> {
  const folder = await mkdtemp(join(tmpdir(), 'keyhouse-bench-nginx-'))
  const port = await freePort()
  const file = join(folder, 'nginx.conf')
  await writeFile(file, configuration(folder, server(port)))
  const child = startChild('nginx', ['-c', file, '-p', folder, '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  await untilListening(port)
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      await endChild(child)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

// Started as root, the worker would become nobody, who may not enter our folder
const configuration = (folder: string, server: string): string => `
daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes 1;
worker_rlimit_nofile ${connectionsMax * 2};
pid ${folder}/nginx.pid;
error_log stderr crit;
events { worker_connections ${connectionsMax}; }
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${folder}/${name};`).join(' ')}
  ${server}
}
`

/** Free a moment ago: nginx cannot be asked to choose one and to say which. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

async function untilListening(port: number): Promise<void> {
  const deadline = performance.now() + startTimeoutMs
  while (!(await accepts(port))) {
    if (performance.now() > deadline) throw new Error('nginx did not start: what it says stands above')
    await sleep(20)
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    const answer = (accepted: boolean): void => {
      socket.destroy()
      resolve(accepted)
    }
    socket.once('connect', () => answer(true)).once('error', () => answer(false))
  })
}
