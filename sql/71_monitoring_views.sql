-- What runs of ltv_monitor found, and what alarmed.

CREATE VIEW @extschema@.ltv_monitoring WITH (security_invoker = true) AS
SELECT run, at, model, version, feature, kind, n, psi, js_distance, missing_then, missing_now, mean_then, mean_now,
       threshold, drifted, reason
FROM ltv.readable_monitoring;
COMMENT ON VIEW @extschema@.ltv_monitoring IS 'what ltv_monitor found, one row per run and feature';
COMMENT ON COLUMN @extschema@.ltv_monitoring.run IS 'the number of the run';
COMMENT ON COLUMN @extschema@.ltv_monitoring.at IS 'when';
COMMENT ON COLUMN @extschema@.ltv_monitoring.model IS 'the model';
COMMENT ON COLUMN @extschema@.ltv_monitoring.version IS 'the version';
COMMENT ON COLUMN @extschema@.ltv_monitoring.feature IS 'the feature; ltv is the prediction';
COMMENT ON COLUMN @extschema@.ltv_monitoring.kind IS 'what kind of column it is';
COMMENT ON COLUMN @extschema@.ltv_monitoring.n IS 'rows of the run';
COMMENT ON COLUMN @extschema@.ltv_monitoring.psi IS 'population stability index, less what chance makes; for numbers';
COMMENT ON COLUMN @extschema@.ltv_monitoring.js_distance
    IS 'Jensen-Shannon distance, less what chance makes; for categories';
COMMENT ON COLUMN @extschema@.ltv_monitoring.missing_then IS 'share of missing values in the training';
COMMENT ON COLUMN @extschema@.ltv_monitoring.missing_now IS 'the same in the run';
COMMENT ON COLUMN @extschema@.ltv_monitoring.mean_then IS 'mean in the training';
COMMENT ON COLUMN @extschema@.ltv_monitoring.mean_now IS 'mean in the run';
COMMENT ON COLUMN @extschema@.ltv_monitoring.threshold IS 'from which value on it counts as drifted';
COMMENT ON COLUMN @extschema@.ltv_monitoring.drifted IS 'whether it did';
COMMENT ON COLUMN @extschema@.ltv_monitoring.reason IS 'why, in words';
CREATE VIEW @extschema@.ltv_alerts WITH (security_invoker = true) AS
SELECT alert, at, model, kind, version, run, feature, message FROM ltv.readable_alerts;
COMMENT ON VIEW @extschema@.ltv_alerts
    IS 'drifted features (drift), steps of chains that failed (step), retrainings that failed or got worse (training); '
       'new ones are told on the channel that ltv_models.alert_channel names';
COMMENT ON COLUMN @extschema@.ltv_alerts.alert IS 'its number';
COMMENT ON COLUMN @extschema@.ltv_alerts.at IS 'when';
COMMENT ON COLUMN @extschema@.ltv_alerts.model IS 'the model';
COMMENT ON COLUMN @extschema@.ltv_alerts.kind IS 'drift, step or training';
COMMENT ON COLUMN @extschema@.ltv_alerts.version IS 'the version';
COMMENT ON COLUMN @extschema@.ltv_alerts.run IS 'the run of ltv_monitoring that found it';
COMMENT ON COLUMN @extschema@.ltv_alerts.feature IS 'the feature; ltv is the prediction';
COMMENT ON COLUMN @extschema@.ltv_alerts.message IS 'what is wrong, in words';
GRANT SELECT ON @extschema@.ltv_monitoring, @extschema@.ltv_alerts TO PUBLIC;
