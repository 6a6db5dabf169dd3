/**
 * Ends another process when this one is gone, whatever ended it, kill -9 included. A shell of its own session reads a pipe
 * whose other end only we hold: the read fails exactly when we are gone. No process id is polled, no tool beyond a POSIX
 * shell is needed (`setpriv --pdeathsig` exists on Linux only), and Ctrl-C passes it by.
 */
import { spawn } from 'node:child_process'

const script = `trap '' HUP INT QUIT TERM; read -r released || kill -s "$2" "$1"`

/** @param signal by its short name, as `kill -s` wants it: QUIT, TERM. */
export function holdLifeline(pid: number, signal: string, onError: (error: Error) => void): { end(): void } {
  const lifeline = spawn('/bin/sh', ['-c', script, 'keyhouse-lifeline', String(pid), signal], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
    env: {},
  })
  lifeline.on('error', onError)
  lifeline.unref()
  return { end: () => void lifeline.kill('SIGKILL') }
}
