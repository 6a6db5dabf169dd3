/** What a person sees when the server stands: where it is and, on the first start only, the keys. */
import type { Keyhouse } from '#src/compose.ts'
import { version } from '#src/version.ts'

export function banner({
  url,
  dataDir,
  first,
  localModel,
}: Pick<Keyhouse, 'url' | 'dataDir' | 'first' | 'localModel'>): string {
  const lines = [`Keyhouse ${version} listens on ${url} (API: ${url}/v1)`, `Data: ${dataDir}`]
  if (first) {
    lines.push(
      '',
      `Organization: ${first.organizationId}`,
      'These keys are shown once and stored nowhere. Keep them:',
      `  admin key    ${first.adminKey}`,
      `  project key  ${first.projectKey}`,
      `  test key     ${first.testKey}`,
    )
    if (localModel) {
      lines.push(
        '',
        'The first call, from another terminal:',
        `  curl ${url}/v1/chat/completions -H "Authorization: Bearer ${first.projectKey}" \\`,
        '    -H "Content-Type: application/json" \\',
        `    -d '{"model": "${localModel}", "messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 40}'`,
      )
    }
  }
  if (localModel)
    lines.push(
      '',
      'The embedded models are fetched in the background if they are not here yet: `npx keyhouse models list`.',
    )
  return `\n${lines.join('\n')}\n\n`
}
