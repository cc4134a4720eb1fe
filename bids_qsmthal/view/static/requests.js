// What goes to the server and back. Addresses are relative, so that the token stays in front.

const checked = async (response) => {
  if (response.ok) { return response; }
  const said = await response.json();
  throw new Error(said.error);
};

export const read = async (address) => (await checked(await fetch(address))).json();

// No content: it is still that of the version that was named (If-None-Match).
const SAME = 304;
export const bytes = async (address, asked = {}) => {
  const answered = await fetch(address, asked);
  if (answered.status === SAME) { return { content: null, version: answered.headers.get("ETag") }; }
  const response = await checked(answered);
  const content = await response.arrayBuffer();
  return { content, version: response.headers.get("ETag") };
};

export const packed = async (content) => {
  const stream = new Blob([content]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
};

export const send = async (method, address, body, headers = {}) =>
  (await checked(await fetch(address, { method, body, headers }))).json();
