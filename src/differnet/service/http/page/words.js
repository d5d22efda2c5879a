// What the page says: verdicts, numbers, times and errors in plain words.

import { locale, t } from "./language.js";

export const VERDICTS = {
  OK: { word: t("OK"), tone: "ok", shape: "check", says: t("The part looks good.") },
  review: { word: t("REVIEW"), tone: "review", shape: "question", says: t("A person should look at this part.") },
  NG: { word: t("NG"), tone: "ng", shape: "cross", says: t("The part looks defective.") },
  error: { word: t("ERROR"), tone: "error", shape: "warning", says: t("This could not be inspected.") },
  none: { word: t("NO VERDICT"), tone: "none", shape: "dash", says: t("The model has no threshold to judge by.") },
};

export const OPERATOR = {
  good: { word: t("good"), tone: "ok", shape: "check" },
  defective: { word: t("defective"), tone: "ng", shape: "cross" },
};

export const verdictOf = (row) => VERDICTS[row.verdict ?? "none"] ?? VERDICTS.none;

/** Whether the operator said the opposite of the verdict. */
export const disagrees = (row) =>
  (row.operator === "good" && row.verdict === "NG") || (row.operator === "defective" && row.verdict === "OK");

const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const digits = new Intl.NumberFormat(locale, { maximumSignificantDigits: 4 });
const wholePercent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const share = new Intl.NumberFormat(locale, { style: "percent", maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dated = new Intl.DateTimeFormat(locale, { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export const count = (value) => whole.format(value);
export const number = (value) => (Number.isFinite(value) ? digits.format(value) : "–");
export const percent = (value) => (Number.isFinite(value) ? share.format(value) : "–");
/** `one`, `many`: texts with {count} in them. */
export const plural = (value, one, many) => (value === 1 ? one : many).replace("{count}", count(value));

/** The name of a shift as people gave it; where they gave none, there is one a day. */
export const shiftName = (name) => (name === "day" ? t("day") : name);

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
  if (seconds < 2) return t("just now");
  if (seconds < 90) return t("{count} s ago", { count: Math.round(seconds) });
  if (seconds < 5400) return t("{count} min ago", { count: Math.round(seconds / 60) });
  if (seconds < 172800) return t("{count} h ago", { count: Math.round(seconds / 3600) });
  return t("{count} days ago", { count: Math.round(seconds / 86400) });
}

/** The score in percent of the limit that decided, and that in words; nothing without one.
 * Of a part that is not rejected it is the limit to review, where there is one. Rounded down, so that 100 % is over it. */
export function ofLimit(row) {
  const toReview = row.verdict !== "NG" && Number.isFinite(row.review_threshold);
  const limit = toReview ? row.review_threshold : row.threshold;
  if (!Number.isFinite(row.score) || !Number.isFinite(limit) || limit <= 0 || row.verdict === "error") return null;
  const share = Math.floor((100 * row.score) / limit + 1e-9) / 100, percent = wholePercent.format(share);
  return { share, percent, text: toReview ? t("{percent} of the limit to review", { percent }) : t("{percent} of the limit", { percent }) };
}

/** How unusual a part is, for people: of one that does not look good also how many good parts look like that. */
export function unusual(row) {
  if (row.error) return row.error;
  const isFlagged = row.verdict === "NG" || row.verdict === "review";
  const chance = isFlagged && Number.isFinite(row.p_value) ? t("{percent} of good parts look this unusual", { percent: percent(row.p_value) }) : "";
  const score = Number.isFinite(row.score) ? t("score {score}", { score: number(row.score) }) : "";
  return [ofLimit(row)?.text, chance, score, row.image_note].filter(Boolean).join(" · ");
}

const ADVICE = {
  401: t("The service wants an API key."),
  403: t("This API key may not do that. Ask for another key, or use the page under a host name that the service allows."),
  404: t("That is not there (any more). It may have been deleted by age or size."),
  408: t("The picture came too slowly. Check the network and send it again."),
  412: t("Somebody else moved the rates meanwhile. Close this and open it again to see them."),
  413: t("The picture is larger than the service takes. Make it smaller (fewer pixels, or JPEG), or have the limit raised."),
  415: t("The service could not read this as a picture. Send a PNG, JPEG, BMP, TIFF or WebP file."),
  429: t("The service has more parts waiting than it takes."),
  503: t("The service is not ready. Wait a moment and try again."),
  504: t("The picture was not judged in time. The service may be overloaded; try again."),
};

/** What went wrong and what to do. `about` is "picture", "rates" or "word": 422 means another thing for each. */
export function plain(error, about = "picture") {
  if (!error.status) return t("The service does not answer. Check that it runs and that the network cable is in; the page keeps trying.");
  if (error.status === 422 && about === "rates") return t("These rates cannot be used: {reason}", { reason: error.detail || t("see the limits beside the fields") });
  if (error.status === 422 && about === "word") return error.detail;
  const advice = ADVICE[error.status === 422 ? 415 : error.status];
  if (advice) return error.detail && ![401, 429].includes(error.status) ? `${advice} (${error.detail})` : advice;
  return t("The service failed (error {reason}). Try again; if it stays so, look into its log.", { reason: [error.status, error.detail].filter(Boolean).join(": ") });
}
