// Imported before any function: Powertools and the X-Ray SDK read these when they are loaded.
Object.assign(process.env, {
  LOG_LEVEL: 'SILENT',
  // Nothing empties the metrics here.
  POWERTOOLS_METRICS_DISABLED: 'true',
  AWS_XRAY_CONTEXT_MISSING: 'IGNORE_ERROR',
  // Otherwise it follows every promise of the process.
  AWS_XRAY_MANUAL_MODE: 'true',
});
