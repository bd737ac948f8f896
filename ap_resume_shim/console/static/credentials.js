// The dialog for the credentials, which go into the memory of this tab alone.

import { hasCredentials, setCredentials } from "./api.js";

const $ = (id) => document.getElementById(id);
let changed = () => {};

// `onchange` is called when credentials were set or forgotten.
export function watchCredentials(onchange) {
  changed = onchange;
}

export function openCredentials() {
  $("credentials").showModal();
  $("header-value").focus();
}

$("credentials-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("header-error").textContent = "";
  try {
    if (!$("header-value").value) throw new TypeError();
    setCredentials($("header-name").value.trim(), $("header-value").value.trim());
  } catch {
    $("header-error").textContent = "This name and this value cannot be a header.";
    return $("header-value").focus();
  }
  closeCredentials();
});

function closeCredentials() {
  $("credentials").close();
  $("header-value").value = "";
  $("credentials-open").textContent = hasCredentials() ? "Credentials set" : "Credentials";
  changed();
}

$("credentials-open").addEventListener("click", openCredentials);
$("credentials-cancel").addEventListener("click", () => $("credentials").close());
$("credentials-forget").addEventListener("click", () => {
  setCredentials(null);
  closeCredentials();
});
$("credentials").addEventListener("close", () => ($("header-value").value = ""));
