// Requests to the server, apart from the chat.

/** Ask the server. @param {string} path @param {string} [method] @param {object} [body] */
export async function request(path, method = "GET", body = undefined) {
  const xsrf = /(?:^|; )_xsrf=([^;]+)/.exec(document.cookie)?.[1] ?? "";
  const response = await fetch(path, { method, headers: { "X-XSRFToken": xsrf }, body: body && JSON.stringify(body) });
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.error?.message ?? `The server answered with ${response.status}.`);
  return answer;
}
