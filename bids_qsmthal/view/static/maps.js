// Maps as NiiVue takes them. One is asked for ahead: that of the scan which is probably opened next.
import { bytes } from "./requests.js";
import { DT_INT16 } from "./speed.js";

// NiiVue's gray is seen through where it is black: of a map over another one, that below would be seen.
export const GRAY = { R: [0, 255], G: [0, 255], B: [0, 255], A: [255, 255], I: [0, 255] };

export const nifti = (content, name) => niivue.NVImage.new(content, `${name}.nii`, "opaque");

// A map of eight voxels as the server sends them, in numbers of 16 bits.
export const smallest = () => nifti(niivue.NVImage.createNiftiArray(
  [2, 2, 2], [1, 1, 1], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], DT_INT16, new Int16Array(8),
).buffer, "smallest");

const request = async (address, key, given) => {
  const { content, version } = await bytes(address, given);
  return { version, map: content && await nifti(content, key) };
};

export class Maps {
  // A map as it is seen below a label: of the grid and the part of it that this has.
  async image(row, key, below) {
    const address = `api/map/${row.name}/${key}/${below}.nii.gz`;
    const ahead = await this.taken(address);
    // What came ahead is shown only if the server says that it has not changed since.
    const headers = ahead ? { "If-None-Match": ahead.version } : {};
    const { map } = await request(address, key, { headers });
    return map ?? ahead.map;
  }

  ahead(row, key, below) {
    const address = `api/map/${row.name}/${key}/${below}.nii.gz`;
    if (this.next?.address === address) { return; }
    this.forget();
    const given = new AbortController();
    // What is wrong with it is said when it is opened, and asked for again.
    const found = request(address, key, { signal: given.signal }).catch(() => null);
    const next = this.next = { address, found, given, here: false };
    found.then(() => { next.here = true; });
  }

  forget() {
    this.next?.given.abort();
    this.next = null;
  }

  // At once out of reach of others: a map is shown by one.
  taken(address) {
    const { next } = this;
    if (next?.address !== address) { this.forget(); }
    this.next = null;
    return next?.address === address ? next.found : null;
  }
}
