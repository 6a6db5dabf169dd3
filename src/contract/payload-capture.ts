/** Whether what is said in calls of a project is kept for some days. Off, unless somebody turns it on. */
import { z } from 'zod'
import { type Endpoints, emptyBody } from './endpoint.ts'

const kibibyte = 1_024
const bytesMin = kibibyte
const bytesMax = kibibyte * kibibyte
const daysMax = 90

/** What holds where nobody has chosen. */
export const captureUsual = { enabled: false, retentionDays: 30, bytesMax: 64 * kibibyte } as const

const retentionDays = z.int().min(1).max(daysMax).describe('Days after which it is deleted.')
const maxBytes = z.int().min(bytesMin).max(bytesMax).describe('Bytes kept of each request, and of each answer.')

const payloadCaptureSetting = z
  .object({
    object: z.literal('project.payload_capture'),
    enabled: z.boolean(),
    retention_days: retentionDays,
    max_bytes: maxBytes,
  })
  .meta({ id: 'ProjectPayloadCapture' })

const path = '/v1/organization/projects/{project_id}/payload_capture'

export const payloadCapture = {
  retrieve: {
    method: 'GET',
    path,
    summary: 'Retrieve whether requests and answers of a project are captured.',
    scope: 'api.organization.projects.read',
    answer: payloadCaptureSetting,
  },
  update: {
    method: 'POST',
    path,
    summary: 'Turn capturing on or off, or change how much and for how long. What is left out stays.',
    scope: 'api.organization.settings.write',
    body: z.strictObject({
      enabled: z.boolean().optional(),
      retention_days: retentionDays.optional(),
      max_bytes: maxBytes.optional(),
    }),
    answer: payloadCaptureSetting,
  },
  delete: {
    method: 'DELETE',
    path,
    summary: 'Capture nothing any more, and delete what was captured: nobody can read it from now on.',
    scope: 'api.organization.settings.write',
    body: emptyBody,
    answer: z.object({ object: z.literal('project.payload_capture.deleted'), deleted: z.literal(true) }),
  },
} as const satisfies Endpoints
