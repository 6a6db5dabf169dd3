/** An update that names nothing to update: a mistake of its sender, not a success. */
import { type ApiError, apiError } from '#contract/errors.ts'

export const nothingToChange = (): ApiError =>
  apiError('invalid_parameter', {
    param: null,
    message: 'Nothing to change was sent. Send at least one of the members that this endpoint takes.',
    code: 'missing_required_parameter',
  })
