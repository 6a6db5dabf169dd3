/**
 * What `keyhouse scan` knows: one row for each kind of secret. A row's pattern is tried only where one of its keywords
 * stands, begins with that keyword, and has no quantifier without a bound: no text can make it slow.
 *
 * Among the rows that share a keyword the first one that fits wins.
 */
import { parseKey } from '#core/key-format.ts'

/** From worst to mildest. */
export const severities = ['critical', 'high', 'medium', 'low'] as const
export type Severity = (typeof severities)[number]

export type Detector = {
  /** Stands in reports and baselines: never renamed. */
  readonly id: string
  readonly title: string
  readonly keywords: readonly string[]
  /** Sticky. The secret is its first group, or all of it. */
  readonly pattern: RegExp
  readonly severity: Severity
  /** The one step that mends it. */
  readonly advice: string
  /** Shannon entropy of the secret in bits per character: placeholders such as xxxx stay below. */
  readonly entropyMin: number
  /** The secret may follow a letter or digit: only where `accepts` is sure by itself. */
  readonly anywhere?: true
  readonly accepts?: (secret: string, following: string) => boolean
  /** What to show of it; usually its first characters and the last four. */
  readonly shown?: (match: string) => string
}

const keyhouse = { keywords: ['sk-kh-'], severity: 'critical', entropyMin: 0 } as const
const keyhouseShape = /sk-kh-(?:proj|svcacct|admin|test)-[0-9A-Za-z]{49}/y
const isTestKey = (key: string): boolean => key.startsWith('sk-kh-test-')
const revoke = (where: string): string => `Revoke it at ${where}, then put its successor where git does not look.`

export const keyhouseKeyId = 'keyhouse-key'
export const keyhouseTestKeyId = 'keyhouse-test-key'

export const detectors: readonly Detector[] = [
  {
    ...keyhouse,
    id: keyhouseKeyId,
    title: 'Keyhouse key',
    pattern: keyhouseShape,
    anywhere: true,
    accepts: key => !isTestKey(key) && parseKey(key).ok,
    advice: 'Rotate or revoke it with `keyhouse keys`, then read in the audit log what it did.',
  },
  {
    ...keyhouse,
    id: keyhouseTestKeyId,
    title: 'Keyhouse test key',
    pattern: keyhouseShape,
    anywhere: true,
    accepts: key => isTestKey(key) && parseKey(key).ok,
    severity: 'low',
    advice: 'It reaches only the free test models; revoke it all the same when the place is public.',
  },
  {
    ...keyhouse,
    id: 'keyhouse-key-damaged',
    title: 'Keyhouse key with a wrong checksum',
    pattern: /sk-kh-(?:proj|svcacct|admin|test)-[0-9A-Za-z]{49}(?![0-9A-Za-z])/y,
    entropyMin: 4.5,
    severity: 'low',
    advice:
      'No server takes it, but a mistyped key is nearly a key: if it is more than an example, revoke the real one.',
  },
  {
    id: 'anthropic-key',
    title: 'Anthropic key',
    keywords: ['sk-ant-'],
    pattern: /sk-ant-[a-z]{2,8}\d{2}-[\w-]{80,140}/y,
    entropyMin: 4,
    severity: 'critical',
    advice: revoke('console.anthropic.com'),
  },
  {
    id: 'openrouter-key',
    title: 'OpenRouter key',
    keywords: ['sk-or-v1-'],
    pattern: /sk-or-v1-[0-9a-f]{64}(?!\w)/y,
    entropyMin: 3.2,
    severity: 'critical',
    advice: revoke('openrouter.ai/settings/keys'),
  },
  {
    id: 'openai-key',
    title: 'OpenAI key',
    keywords: ['sk-'],
    pattern:
      /sk-(?:(?:proj|svcacct|admin|None)-)?(?:[\w-]{20}|[\w-]{58}|[\w-]{74})T3BlbkFJ(?:[\w-]{74}|[\w-]{58}|[\w-]{20})(?![\w-])/y,
    entropyMin: 4,
    severity: 'critical',
    advice: revoke('platform.openai.com/api-keys'),
  },
  {
    id: 'openai-compatible-key',
    title: 'key of DeepSeek or another OpenAI-compatible host',
    keywords: ['sk-'],
    pattern: /sk-(?:[0-9a-f]{32}|[0-9A-Za-z]{48})(?![\w-])/y,
    entropyMin: 3.2,
    accepts: key => /\d/.test(key) && /[a-z]/i.test(key.slice(3)),
    severity: 'high',
    advice: revoke('the host that gave it'),
  },
  {
    id: 'google-key',
    title: 'Google API key',
    keywords: ['AIza'],
    pattern: /AIza[\w-]{35}(?![\w-])/y,
    entropyMin: 3.8,
    severity: 'high',
    advice: revoke('console.cloud.google.com/apis/credentials'),
  },
  {
    id: 'aws-key-pair',
    title: 'AWS access key with its secret',
    keywords: ['AKIA', 'ASIA'],
    pattern: /(?:AKIA|ASIA)[A-Z2-7]{16}(?!\w)/y,
    entropyMin: 3,
    accepts: (id, following) => !id.endsWith('EXAMPLE') && awsSecret.test(following),
    severity: 'critical',
    advice: 'Deactivate it in IAM, then delete it; look in CloudTrail for what it did.',
  },
  {
    id: 'aws-key-id',
    title: 'AWS access key id',
    keywords: ['AKIA', 'ASIA'],
    pattern: /(?:AKIA|ASIA)[A-Z2-7]{16}(?!\w)/y,
    entropyMin: 3,
    accepts: id => !id.endsWith('EXAMPLE'),
    severity: 'medium',
    advice: 'Its secret is not beside it; see where that is, and deactivate the key in IAM if it is out as well.',
  },
  {
    id: 'github-token',
    title: 'GitHub token',
    keywords: ['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'],
    pattern: /gh[pousr]_[0-9A-Za-z]{36}(?![0-9A-Za-z])/y,
    entropyMin: 3.8,
    severity: 'critical',
    advice: revoke('github.com/settings/tokens'),
  },
  {
    id: 'github-fine-grained-token',
    title: 'GitHub fine-grained token',
    keywords: ['github_pat_'],
    pattern: /github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}(?!\w)/y,
    entropyMin: 4,
    severity: 'critical',
    advice: revoke('github.com/settings/tokens'),
  },
  {
    id: 'stripe-live-key',
    title: 'Stripe live key',
    keywords: ['sk_live_', 'rk_live_'],
    pattern: /[sr]k_live_[0-9A-Za-z]{24,128}(?!\w)/y,
    entropyMin: 3.8,
    severity: 'critical',
    advice: revoke('dashboard.stripe.com/apikeys'),
  },
  {
    id: 'slack-token',
    title: 'Slack token',
    keywords: ['xoxa-', 'xoxb-', 'xoxe-', 'xoxe.', 'xoxo-', 'xoxp-', 'xoxr-', 'xoxs-', 'xapp-'],
    pattern: /(?:xox[abeoprs](?:\.xox[bp])?|xapp)-\d[0-9A-Za-z-]{23,240}/y,
    entropyMin: 3.2,
    severity: 'critical',
    advice: revoke('api.slack.com/apps (or by auth.revoke)'),
  },
  {
    id: 'hugging-face-token',
    title: 'Hugging Face token',
    keywords: ['hf_'],
    pattern: /hf_[0-9A-Za-z]{34}(?!\w)/y,
    entropyMin: 4,
    severity: 'critical',
    advice: revoke('huggingface.co/settings/tokens'),
  },
  {
    id: 'groq-key',
    title: 'Groq key',
    keywords: ['gsk_'],
    pattern: /gsk_[0-9A-Za-z]{52}(?!\w)/y,
    entropyMin: 4,
    severity: 'critical',
    advice: revoke('console.groq.com/keys'),
  },
  {
    id: 'xai-key',
    title: 'xAI key',
    keywords: ['xai-'],
    pattern: /xai-\w{80}(?!\w)/y,
    entropyMin: 4,
    severity: 'critical',
    advice: revoke('console.x.ai'),
  },
  {
    id: 'perplexity-key',
    title: 'Perplexity key',
    keywords: ['pplx-'],
    pattern: /pplx-[0-9A-Za-z]{48}(?!\w)/y,
    entropyMin: 4,
    severity: 'critical',
    advice: revoke('perplexity.ai/settings/api'),
  },
  {
    id: 'replicate-token',
    title: 'Replicate token',
    keywords: ['r8_'],
    pattern: /r8_[\w-]{37}(?![\w-])/y,
    entropyMin: 4,
    severity: 'critical',
    advice: revoke('replicate.com/account/api-tokens'),
  },
  {
    id: 'nvidia-key',
    title: 'NVIDIA key',
    keywords: ['nvapi-'],
    pattern: /nvapi-[\w-]{64}(?![\w-])/y,
    entropyMin: 4,
    severity: 'critical',
    advice: revoke('build.nvidia.com'),
  },
  {
    // Their keys have no shape of their own: only the variable that they are given to tells them from any other text
    id: 'provider-key-by-name',
    title: "provider's key, by the name of its variable",
    keywords: ['MISTRAL_API_KEY', 'COHERE_API_KEY', 'TOGETHER_API_KEY', 'FIREWORKS_API_KEY', 'AZURE_OPENAI_API_KEY'],
    pattern: /[A-Z_]{14,24}["'`\])]{0,3}[ \t]{0,8}(?:=>|[=:,])[ \t]{0,8}["'`]?([0-9A-Za-z_-]{32,128})(?![\w-])/y,
    entropyMin: 3.2,
    anywhere: true,
    accepts: key => /\d/.test(key) && /[a-z]/i.test(key),
    severity: 'high',
    advice: revoke('the provider that gave it'),
  },
  {
    id: 'private-key',
    title: 'private key',
    keywords: ['-----BEGIN '],
    // The first line of the key itself must follow: many a program names the header alone. Line ends may be written \n
    pattern:
      /-----BEGIN (?:[A-Z0-9]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----(?:\\{1,4}[nr]|[\s"'`+,]){1,40}(?:[A-Z][\w-]{2,20}: [^\r\n]{1,120}\s{1,20}){0,4}([0-9A-Za-z+/=]{40,76})/y,
    entropyMin: 3.5,
    anywhere: true,
    severity: 'critical',
    advice: 'Take it out of use everywhere, then make a new pair; who has the file has the key.',
    shown: match => match.slice(0, match.indexOf('-----', 11) + 5),
  },
]

/** Forty characters of base64 by themselves, as an AWS secret is. */
const awsSecret =
  /(?<![0-9A-Za-z/+=])(?=[0-9A-Za-z/+]{0,39}[a-z])(?=[0-9A-Za-z/+]{0,39}\d)[0-9A-Za-z/+]{40}(?![0-9A-Za-z/+=])/
