/** The way to the mail server. */
import { createTransport } from 'nodemailer'

export type Mailer = {
  /** What links in mails begin with. */
  readonly publicUrl: string
  /** @throws MailRefused */
  send(mail: OutgoingMail): Promise<void>
  close(): void
}

export type OutgoingMail = {
  readonly id: string
  readonly to: string
  readonly subject: string
  readonly text: string
}

/** For good: the server refuses this mail, whoever brings it and whenever. */
export class MailRefused extends Error {
  readonly forGood: boolean

  constructor(message: string, { forGood, cause }: { forGood: boolean; cause: unknown }) {
    super(message, { cause })
    this.name = 'MailRefused'
    this.forGood = forGood
  }
}

const connectTimeoutMs = 10_000
const silenceTimeoutMs = 20_000
const connectionsMax = 2

export type MailSettings = {
  /** smtp://user:password@host:587, smtps:// for TLS from the first byte; nodemailer's options as a query */
  readonly smtpUrl: string
  /** An address, or a name and an address: Keyhouse <keyhouse@example.com> */
  readonly from: string
  readonly publicUrl: string
}

export function openMailer({ smtpUrl, from, publicUrl }: MailSettings): Mailer {
  const transport = createTransport({
    url: smtpUrl,
    pool: true,
    maxConnections: connectionsMax,
    connectionTimeout: connectTimeoutMs,
    greetingTimeout: connectTimeoutMs,
    socketTimeout: silenceTimeoutMs,
    // A password is not sent to whoever stands in between and says that there is no TLS
    ...(needsTls(smtpUrl) && { requireTLS: true }),
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  return {
    publicUrl,
    async send({ id, to, subject, text }) {
      const message = {
        from,
        to: { name: '', address: to },
        subject,
        text,
        // The same at every try, so that a mail that arrives twice can be seen to be one
        messageId: `<${id}@keyhouse>`,
        headers: { 'Auto-Submitted': 'auto-generated' },
      }
      await transport.sendMail(message).catch(cause => {
        throw toRefusal(cause)
      })
    },
    close: () => transport.close(),
  }
}

function needsTls(smtpUrl: string): boolean {
  const { protocol, username, hostname, searchParams } = new URL(smtpUrl)
  const isHere = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
  return protocol === 'smtp:' && username !== '' && !isHere && !searchParams.has('ignoreTLS')
}

type SmtpError = Error & { code?: string; responseCode?: number; response?: string }

/** 5xx about the envelope or the text; a password that is refused is the setting's fault, and may be mended. */
function toRefusal(cause: SmtpError): MailRefused {
  const { code, responseCode = 0, response, message } = cause
  const forGood = responseCode >= 500 && (code === 'EENVELOPE' || code === 'EMESSAGE')
  return new MailRefused(response ?? message, { forGood, cause })
}
