/** Where the link of an invitation leads. The token stays behind the #, and is sent only when the person says so. */
export const invitePage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer">
<title>Invitation · Keyhouse</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 26rem; margin: 4rem auto; padding: 0 1rem }
  input, button { font: inherit; padding: .4rem .6rem }
</style>
<h1>You are invited</h1>
<form>
  <p><label>Your name <input name="name" autocomplete="name" maxlength="200" required></label></p>
  <p><button>Accept the invitation</button></p>
</form>
<p role="status"></p>
<script type="module">
  const [form, status] = [document.querySelector('form'), document.querySelector('[role=status]')]
  form.addEventListener('submit', async event => {
    event.preventDefault()
    const body = JSON.stringify({ token: location.hash.slice(1), name: form.elements.name.value })
    const response = await fetch(location.pathname, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    const answer = await response.json()
    status.textContent = response.ok
      ? 'Welcome, ' + answer.name + '. You are a member now; an owner of the organization gives you a key.'
      : answer.error.message
    form.hidden = response.ok
  })
</script>
</html>
`
