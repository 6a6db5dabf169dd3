/** Identifiers as OpenAI shapes them: a prefix that says what it is, and 24 characters of [0-9A-Za-z] (about 142 bits). */

export type OrganizationId = string & { readonly __id: 'organization' }
export type ProjectId = string & { readonly __id: 'project' }
export type UserId = string & { readonly __id: 'user' }
export type ApiKeyId = string & { readonly __id: 'api_key' }
export type ProviderId = string & { readonly __id: 'provider' }
export type ServiceAccountId = string & { readonly __id: 'service_account' }
export type LeaseId = string & { readonly __id: 'lease' }

type IdOf = {
  organization: OrganizationId
  project: ProjectId
  user: UserId
  api_key: ApiKeyId
  provider: ProviderId
  service_account: ServiceAccountId
  group: string
  role: string
  invite: string
  certificate: string
  spend_alert: string
  leak_report: string
  audit_log: string
  mail: string
  credit_grant: string
}

const prefixes = {
  organization: 'org-',
  project: 'proj_',
  user: 'user-',
  api_key: 'key_',
  provider: 'prov_',
  service_account: 'svc_acct_',
  group: 'group_',
  role: 'role_',
  invite: 'invite-',
  certificate: 'cert_',
  spend_alert: 'alert_',
  leak_report: 'leak_',
  audit_log: 'audit_log-',
  mail: 'mail_',
  credit_grant: 'cg_',
} as const satisfies Record<keyof IdOf, string>

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const idCharacters = 24

/** Uniform base62 characters: bytes of 248 and above are thrown away, so that no character is likelier than another. */
export function randomBase62(length: number): string {
  let text = ''
  while (text.length < length) {
    for (const byte of crypto.getRandomValues(new Uint8Array(length * 2))) {
      if (byte < 248 && text.length < length) text += alphabet[byte % 62]
    }
  }
  return text
}

export function newId<Noun extends keyof IdOf>(noun: Noun): IdOf[Noun] {
  // A freshly made id is by construction of the noun whose prefix it carries.
  return (prefixes[noun] + randomBase62(idCharacters)) as unknown as IdOf[Noun]
}

const requestIdBytes = 16
/** Random bytes for the next request ids: asked for so many at a time, they cost next to nothing. */
const pool = Buffer.alloc(256 * requestIdBytes)
let used = pool.length

export function newRequestId(): string {
  if (used === pool.length) {
    crypto.getRandomValues(pool)
    used = 0
  }
  used += requestIdBytes
  return `req_${pool.toString('hex', used - requestIdBytes, used)}`
}
