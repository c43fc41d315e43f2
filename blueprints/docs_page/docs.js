// Shows openapi.json.  A key that is typed stays in this page: nothing keeps it.
"use strict";

window.SwaggerUIBundle({
  url: "openapi.json", // from the page's own address, so that a proxy may put a prefix before it
  dom_id: "#api",
  deepLinking: true,
  defaultModelExpandDepth: 2,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
  queryConfigEnabled: false, // an address must not make the page show another document
  validatorUrl: null, // else a host on the Internet is asked whether the document is valid
});
