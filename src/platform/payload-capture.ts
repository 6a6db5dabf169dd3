/** Whether what is said in calls of a project is kept for some days. What is kept is read in calls.ts. */
import { apiError } from '#contract/errors.ts'
import { captureUsual, type payloadCapture } from '#contract/payload-capture.ts'
import { type CaptureSettings, keepsNothing, readCapture, removeCapture, setCapture } from '#storage/call-payloads.ts'
import { findProject, type ProjectRow } from '#storage/projects.ts'
import { activeProject, existing } from './active-project.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'
import { nothingToChange } from './nothing-to-change.ts'

const usual: CaptureSettings = {
  enabled: captureUsual.enabled,
  retention_days: captureUsual.retentionDays,
  bytes_max: captureUsual.bytesMax,
}

export const payloadCaptureHandlers: Handlers<typeof payloadCapture> = {
  async retrieve({ database }, { grant, params }) {
    const { id } = existing(await findProject(database, grant.organizationId, params.project_id))
    return toSetting((await readCapture(database, id)) ?? usual)
  },

  update(parts, call) {
    const { grant, params, body } = call
    if (Object.values(body).every(member => member === undefined)) throw nothingToChange()
    return change(parts, call, async tx => {
      const project = await activeProject(tx, grant, params.project_id)
      const scopes = { project: project.id, organization: grant.organizationId }
      if (body.enabled && (await keepsNothing(tx, scopes))) throw nothingIsKept()
      const { max_bytes: bytes_max, ...rest } = body
      const given = { ...rest, ...(bytes_max !== undefined && { bytes_max }) }
      const setting = await setCapture(tx, project.id, withoutUndefined(given), usual)
      return { answer: toSetting(setting), ...changed(project, setting) }
    })
  },

  delete(parts, call) {
    return change(parts, call, async tx => {
      const project = await activeProject(tx, call.grant, call.params.project_id)
      await removeCapture(tx, project.id)
      const answer = { object: 'project.payload_capture.deleted', deleted: true } as const
      return { answer, ...changed(project, null) }
    })
  },
}

type Given = { readonly [Name in keyof CaptureSettings]?: CaptureSettings[Name] | undefined }

const withoutUndefined = ({ enabled, retention_days, bytes_max }: Given): Partial<CaptureSettings> => ({
  ...(enabled !== undefined && { enabled }),
  ...(retention_days !== undefined && { retention_days }),
  ...(bytes_max !== undefined && { bytes_max }),
})

const toSetting = ({ enabled, retention_days, bytes_max }: CaptureSettings) => ({
  object: 'project.payload_capture' as const,
  enabled,
  retention_days,
  max_bytes: bytes_max,
})

const changed = (project: ProjectRow, payload_capture: CaptureSettings | null) => ({
  audit: [
    { type: 'project.updated', project, resourceId: project.id, detail: { changes_requested: { payload_capture } } },
  ] as const,
  affects: [['project', project.id]] as const,
})

const nothingIsKept = (): Error =>
  apiError('conflict', {
    message:
      'Data retention of this project or its organization is set to zero, which captured calls would break. ' +
      'Change it first, with POST …/data_retention.',
  })
