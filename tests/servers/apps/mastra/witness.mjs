// What the agents have been through, told to the tests by GET /__witness.
export const events = [];

export const note = (ref, event, value = null) => events.push({ ref, event, value });

export const sleep = (secs) => new Promise((done) => setTimeout(done, 1000 * secs));
