/**
 * PostgreSQL refuses to run as root, and initdb refuses a user id without a name; Keyhouse must run as both (containers).
 * There we start it through one of these, whichever works; everybody else starts it plainly.
 *
 * - A user namespace in which we are called somebody else: the files stay ours, also below a home that only we may enter.
 * - For root only: another user id that keeps the one right to pass directories that are closed to it (a container's
 *   default profile forbids namespaces, but allows this). The cluster's files then belong to that id.
 */
import { spawnSync } from 'node:child_process'
import { lstatSync, readFileSync } from 'node:fs'
import { lchown, readdir } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'

export type PostgresAccount = {
  /** What stands before the program on its command line. */
  readonly prefix: readonly string[]
  /** Whose the cluster's files must be, as seen from here. */
  readonly owner: number
}

const probeTimeoutMs = 5_000

export function choosePostgresAccount(): PostgresAccount {
  const user = process.getuid?.() ?? 0
  const plain = { prefix: [], owner: user }
  if (user !== 0) return hasName() ? plain : (firstWorking([inNamespace(user)]) ?? plain)
  const account = firstWorking([inNamespace(user), asOtherUser()])
  if (account) return account
  throw new Error(
    'PostgreSQL refuses to run as root, and neither unshare nor setpriv (package util-linux) can change that here. ' +
      'Start Keyhouse as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own.',
  )
}

/** Hands a cluster over when it was made under the other account; nothing to do in the usual case. */
export async function giveTo({ owner }: PostgresAccount, path: string): Promise<void> {
  if (lstatSync(path).uid === owner || process.getuid?.() !== 0) return
  for (const entry of await readdir(path, { recursive: true })) await lchown(join(path, entry), owner, owner)
  // The directory itself last: a hand-over that was cut short is then started again.
  await lchown(path, owner, owner)
}

function inNamespace(owner: number): PostgresAccount {
  const id = nameableId()
  return { prefix: ['unshare', '--user', `--map-user=${id}`, `--map-group=${id}`, '--'], owner }
}

function asOtherUser(): PostgresAccount {
  const id = nameableId()
  const identity = [`--reuid=${id}`, `--regid=${id}`, '--clear-groups']
  return {
    prefix: ['setpriv', ...identity, '--inh-caps=+dac_override', '--ambient-caps=+dac_override', '--'],
    owner: id,
  }
}

function firstWorking(accounts: PostgresAccount[]): PostgresAccount | undefined {
  return accounts.find(({ prefix: [program = '', ...args] }) => {
    return spawnSync(program, [...args, 'true'], { timeout: probeTimeoutMs, stdio: 'ignore' }).status === 0
  })
}

function hasName(): boolean {
  try {
    return userInfo().username !== ''
  } catch {
    return false
  }
}

/** The lowest id beside root's that has a name here: 1 nearly everywhere (daemon, bin), an account that runs nothing. */
function nameableId(): number {
  const ids = readPasswd().map(line => Number(line.split(':')[2]))
  return ids.filter(id => id > 0).sort((a, b) => a - b)[0] ?? 1
}

function readPasswd(): string[] {
  try {
    return readFileSync('/etc/passwd', 'utf8').trim().split('\n')
  } catch {
    return []
  }
}
