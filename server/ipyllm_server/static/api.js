// Requests to the server, apart from the chat.

/** Ask the server. @param {string} path @param {string} [method] */
export async function request(path, method = "GET") {
  const xsrf = /(?:^|; )_xsrf=([^;]+)/.exec(document.cookie)?.[1] ?? "";
  const response = await fetch(path, { method, headers: { "X-XSRFToken": xsrf } });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Error(body?.error?.message ?? `The server answered with ${response.status}.`);
  return body;
}
