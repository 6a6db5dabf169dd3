/** The version in package.json. */
import { readFileSync } from 'node:fs'

// Our own file, beside us in the package.
const { version: stated } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string
}

export const version: string = stated
