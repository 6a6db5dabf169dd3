/**
 * What mails say, one row a kind. Plain text. What people named comes in on one line, so that no name can begin a header or
 * a paragraph of its own; a credential comes in nowhere.
 */

type Template<About> = {
  readonly subject: (about: About) => string
  readonly body: (about: About) => readonly string[]
}

const template = <About>(row: Template<About>): Template<About> => row

const lineMax = 200

/** One line of text, whatever was named. */
export const oneLine = (text: string): string =>
  text
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim()
    .slice(0, lineMax)

type KeyAbout = {
  readonly keyId: string
  readonly name: string
  readonly redacted: string
  /** Null: an admin key. */
  readonly project: string | null
}

const keyLine = ({ keyId, name, redacted, project }: KeyAbout): string =>
  `"${oneLine(name)}" (${keyId}, ${redacted})${project === null ? '' : ` of the project "${oneLine(project)}"`}`

export const templates = {
  spend_alert: template<{
    readonly where: string
    readonly spentUsd: string
    readonly thresholdUsd: string
    readonly percent: number | null
    readonly month: string
    readonly prefix: string | null
  }>({
    subject: ({ where, thresholdUsd, prefix }) =>
      `${prefix === null ? '' : `${oneLine(prefix)} `}${oneLine(where)} has spent $${thresholdUsd} this month`,
    body: ({ where, spentUsd, thresholdUsd, percent, month }) => [
      `${oneLine(where)} has spent $${spentUsd} in ${month} (UTC), which is beyond the spend alert at $${thresholdUsd}` +
        `${percent === null ? '' : ` (${percent} % of the spend limit)`}.`,
      'Calls go on. To stop them at an amount, set a spend limit: keyhouse spend-limit set USD',
      'What it was spent on: keyhouse usage',
      'This alert is silent until next month.',
    ],
  }),
  key_budget: template<
    KeyAbout & {
      readonly spentUsd: string
      readonly limitUsd: string
      readonly period: string
      readonly percent: number
    }
  >({
    subject: ({ name, percent }) =>
      percent >= 100
        ? `The budget of the API key ${oneLine(name)} is used up`
        : `The API key ${oneLine(name)} has used ${percent} % of its budget`,
    body: about => [
      `The API key ${keyLine(about)} has spent $${about.spentUsd} of its budget of $${about.limitUsd} ` +
        `${about.period === 'total' ? 'in all' : `a ${about.period} (UTC)`}.`,
      about.percent >= 100 ? 'Calls with it are refused.' : 'When it is used up, calls with it are refused.',
      `An owner raises it: keyhouse keys budget set ${about.keyId} USD`,
    ],
  }),
  rotation_due: template<KeyAbout & { readonly dueOn: string; readonly days: number }>({
    subject: ({ name, days }) =>
      days === 0
        ? `Rotate the API key ${oneLine(name)} now`
        : `The API key ${oneLine(name)} is to be rotated within ${days} ${days === 1 ? 'day' : 'days'}`,
    body: about => [
      `The API key ${keyLine(about)} is to be rotated by ${about.dueOn}.`,
      `keyhouse keys rotate ${about.keyId} makes the new one; the old one works on for the grace that you choose.`,
    ],
  }),
  key_leaked: template<KeyAbout & { readonly source: string; readonly url: string | null; readonly disabled: boolean }>(
    {
      subject: ({ name }) => `The API key ${oneLine(name)} was found in the open`,
      body: about => [
        `The API key ${keyLine(about)} was reported by ${oneLine(about.source)}${about.url === null ? '' : `, found at ${oneLine(about.url)}`}.`,
        about.disabled
          ? 'It was disabled at once: calls with it are refused.'
          : 'It had been disabled or revoked before.',
        `Replace it, and see what was done with it: keyhouse keys compromised ${about.keyId} --replace`,
      ],
    },
  ),
  key_compromised: template<KeyAbout & { readonly replacementId: string | null }>({
    subject: ({ name }) => `The API key ${oneLine(name)} was revoked as compromised`,
    body: about => [
      `The API key ${keyLine(about)} was reported as compromised and is revoked.`,
      about.replacementId === null ? 'It was not replaced.' : `${about.replacementId} replaces it.`,
      'Who reported it, and from where: keyhouse audit list --type api_key.deleted',
    ],
  }),
  invite: template<{ readonly organization: string; readonly role: string; readonly expiresOn: string }>({
    subject: ({ organization }) => `You are invited to ${oneLine(organization)}`,
    body: ({ organization, role, expiresOn }) => [
      `You are invited to the organization "${oneLine(organization)}" as ${role}. To accept, open:`,
      '{link}',
      `The link works once, until ${expiresOn}. If you did not expect it, ignore it.`,
    ],
  }),
  test: template<Record<never, never>>({
    subject: () => 'Keyhouse can send mail',
    body: () => ['This is the mail that `keyhouse mail test` sends. The settings smtp-url and mail-from work.'],
  }),
} as const

export type MailKind = keyof typeof templates
export type MailAbout<Kind extends MailKind> = Parameters<(typeof templates)[Kind]['body']>[0]
