// Imported before any function: Powertools reads these when its logger is made.
Object.assign(process.env, { LOG_LEVEL: 'SILENT', AWS_XRAY_CONTEXT_MISSING: 'IGNORE_ERROR' });
