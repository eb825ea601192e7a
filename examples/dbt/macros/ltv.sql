{# The SELECT behind features that ltv_create_features made, so that dbt knows what it builds. #}
{% macro ltv_feature_sql(features) %}
  {% if execute %}
    {{ return(run_query("select ltv_feature_sql('" ~ features ~ "')").columns[0].values()[0]) }}
  {% endif %}
{% endmacro %}

{# dbt run-operation ltv_train --args '{model: shop, relation: analytics.features}' #}
{% macro ltv_train(model, relation, options='{}') %}
  {% set job = run_query("select ltv_train('" ~ model ~ "', '" ~ relation ~ "', options => '" ~ options ~ "')").columns[0].values()[0] %}
  {% do run_query("commit") %}
  {% set version = run_query("select ltv_wait(" ~ job ~ "::bigint)").columns[0].values()[0] %}
  {{ log("version " ~ version ~ " of " ~ model, info=true) }}
{% endmacro %}
