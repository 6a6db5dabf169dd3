/** The deterministic models of the fake provider. People rarely mean them: lists leave them out unless asked. */
import type { testModelPrefix } from '#contract/models.ts'

// The value again, held equal by its type: importing it would bring zod along
const prefix: typeof testModelPrefix = 'keyhouse-test-'

export const isTestModel = ({ name }: { readonly name: string }): boolean => name.startsWith(prefix)
export const testModel = `${prefix}chat`
