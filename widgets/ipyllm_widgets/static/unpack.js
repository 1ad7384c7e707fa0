// Unpacks what `packed.py` packed.

/**
 * Unpack deflated JSON.
 * @param {BufferSource} bytes
 * @returns {Promise<any>}
 */
export async function unpack(bytes) {
  const stream = new Blob([/** @type {any} */ (bytes)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}
