// What the page says: verdicts, numbers, times and errors in plain words.

export const VERDICTS = {
  OK: { word: "OK", tone: "ok", shape: "check", says: "The part looks good." },
  review: { word: "REVIEW", tone: "review", shape: "question", says: "A person should look at this part." },
  NG: { word: "NG", tone: "ng", shape: "cross", says: "The part looks defective." },
  error: { word: "ERROR", tone: "error", shape: "warning", says: "This could not be inspected." },
  none: { word: "NO VERDICT", tone: "none", shape: "dash", says: "The model has no threshold to judge by." },
};

export const OPERATOR = {
  good: { word: "good", tone: "ok", shape: "check" },
  defective: { word: "defective", tone: "ng", shape: "cross" },
};

export const verdictOf = (row) => VERDICTS[row.verdict ?? "none"] ?? VERDICTS.none;

/** Whether the operator said the opposite of the verdict. */
export const disagrees = (row) =>
  (row.operator === "good" && row.verdict === "NG") || (row.operator === "defective" && row.verdict === "OK");

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const digits = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 4 });
const share = new Intl.NumberFormat(undefined, { style: "percent", maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dated = new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export const count = (value) => whole.format(value);
export const number = (value) => (Number.isFinite(value) ? digits.format(value) : "–");
export const percent = (value) => (Number.isFinite(value) ? share.format(value) : "–");
export const plural = (value, one, many) => `${count(value)} ${value === 1 ? one : many}`;

export function midnight(daysBack = 0) {
  const day = new Date();
  day.setHours(0, 0, 0, 0);
  day.setDate(day.getDate() - daysBack);
  return day;
}

/** The time of day, with the date where it is not today's. */
export function when(iso) {
  const time = new Date(iso);
  return time >= midnight() ? clock.format(time) : dated.format(time);
}

export function ago(seconds) {
  if (seconds < 2) return "just now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

/** How unusual a part is, for people: by its p-value where there is one, else by its score alone. */
export function unusual(row) {
  if (row.error) return row.error;
  const score = row.score === null || row.score === undefined ? "" : `score ${number(row.score)}`;
  const limit = row.threshold === null || row.threshold === undefined ? "" : ` (limit ${number(row.threshold)})`;
  const chance = Number.isFinite(row.p_value) ? `${percent(row.p_value)} of good parts look this unusual` : "";
  return [chance, score + limit, row.image_note].filter(Boolean).join(" · ");
}

const ADVICE = {
  401: "The service wants an API key.",
  403: "This API key may not do that. Ask for another key, or use the page under a host name that the service allows.",
  404: "That is not there (any more). It may have been deleted by age or size.",
  408: "The picture came too slowly. Check the network and send it again.",
  412: "Somebody else moved the rates meanwhile. Close this and open it again to see them.",
  413: "The picture is larger than the service takes. Make it smaller (fewer pixels, or JPEG), or have the limit raised.",
  415: "The service could not read this as a picture. Send a PNG, JPEG, BMP, TIFF or WebP file.",
  429: "The service has more parts waiting than it takes.",
  503: "The service is not ready. Wait a moment and try again.",
  504: "The picture was not judged in time. The service may be overloaded; try again.",
};

/** What went wrong and what to do. `about` is "picture", "rates" or "word": 422 means another thing for each. */
export function plain(error, about = "picture") {
  if (!error.status) return "The service does not answer. Check that it runs and that the network cable is in; the page keeps trying.";
  if (error.status === 422 && about === "rates") return `These rates cannot be used: ${error.detail || "see the limits beside the fields"}`;
  if (error.status === 422 && about === "word") return error.detail;
  const advice = ADVICE[error.status === 422 ? 415 : error.status];
  if (advice) return error.detail && ![401, 429].includes(error.status) ? `${advice} (${error.detail})` : advice;
  return `The service failed (error ${error.status}${error.detail ? `: ${error.detail}` : ""}). Try again; if it stays so, look into its log.`;
}
