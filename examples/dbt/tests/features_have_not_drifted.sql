-- A row for each feature that is no longer distributed as in the training: the run stops before anybody reads the scores.
select feature, reason from ltv_validate_data_skew('cdnow', '{{ ref("features") }}') where drifted
