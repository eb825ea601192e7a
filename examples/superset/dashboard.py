"""Makes a dashboard of pg_ltv's scores by Superset's API; prints its path.

dashboard.py SUPERSET USER PASSWORD DATABASE, DATABASE being a URL as SQLAlchemy reads it. views.sql makes what it reads.
"""

import json
import sys

import requests

TITLE = "Customer lifetime value"


class Superset:
    def __init__(self, url, user, password):
        self.url = url.rstrip("/") + "/api/v1/"
        self.session = requests.Session()
        token = self.post("security/login", username=user, password=password, provider="db")["access_token"]
        self.session.headers["Authorization"] = f"Bearer {token}"
        # Changes need a second token, against forged requests.
        answer = self.session.get(self.url + "security/csrf_token/", timeout=60)
        self.session.headers.update({"X-CSRFToken": answer.json()["result"], "Referer": url})

    def call(self, method, path, body):
        answer = self.session.request(method, self.url + path, json=body, timeout=120)
        if not answer.ok:
            sys.exit(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def post(self, path, **body):
        return self.call("POST", path, body)

    def put(self, path, **body):
        return self.call("PUT", path, body)


def metric(function, column):
    return {
        "expressionType": "SIMPLE",
        "aggregate": function,
        "column": {"column_name": column},
        "label": f"{function.lower()} {column}",
        "optionName": f"metric_{function}_{column}",
    }


def chart(superset, title, kind, dataset, columns, metrics, limit=1000, /, **looks):
    """What a chart asks and how it looks; the question is kept with it, so that the API can answer it, too."""
    question = {
        "columns": columns,
        "metrics": metrics,
        "orderby": [[metrics[0], False]] if metrics else [],
        "row_limit": limit,
        "filters": [],
    }
    source = {"id": dataset, "type": "table"}
    context = {"datasource": source, "queries": [question], "result_format": "json", "result_type": "full"}
    looks |= {"viz_type": kind, "datasource": f"{dataset}__table", "row_limit": limit}
    made = superset.post(
        "chart/",
        slice_name=title,
        viz_type=kind,
        datasource_id=dataset,
        datasource_type="table",
        params=json.dumps(looks),
        query_context=json.dumps(context),
    )
    return made["id"], title


def layout(rows):
    """Charts side by side in rows, twelve columns wide."""
    position = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": [], "parents": ["ROOT_ID"]},
        "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": TITLE}},
    }
    for number, charts in enumerate(rows):
        row = f"ROW-{number}"
        position["GRID_ID"]["children"].append(row)
        children = []
        for identifier, title in charts:
            name = f"CHART-{identifier}"
            children.append(name)
            position[name] = {
                "type": "CHART",
                "id": name,
                "children": [],
                "parents": ["ROOT_ID", "GRID_ID", row],
                "meta": {"chartId": identifier, "sliceName": title, "width": 12 // len(charts), "height": 50},
            }
        position[row] = {
            "type": "ROW",
            "id": row,
            "children": children,
            "parents": ["ROOT_ID", "GRID_ID"],
            "meta": {"background": "BACKGROUND_TRANSPARENT"},
        }
    return position


def main(url, user, password, database):
    superset = Superset(url, user, password)
    database = superset.post("database/", database_name="pg_ltv", sqlalchemy_uri=database)["id"]

    def dataset(view):
        return superset.post("dataset/", database=database, schema="public", table_name=view)["id"]

    customers, deciles = dataset("superset_customers"), dataset("superset_deciles")
    predicted, spent = metric("SUM", "predicted"), metric("SUM", "spent")
    by_decile = [metric("MAX", "mean_prediction"), metric("MAX", "mean_actual")]
    rows = [
        [
            chart(superset, "Predicted in all", "big_number_total", customers, [], [predicted], metric=predicted),
            chart(superset, "Predicted and spent, by tier", "echarts_timeseries_bar", customers, ["tier"], [predicted, spent],
                  x_axis="tier", metrics=[predicted, spent], groupby=[], x_axis_sort="tier", x_axis_sort_asc=True, show_legend=True),
        ],
        [
            chart(superset, "Held-out customers by tenths, per head", "echarts_timeseries_bar", deciles, ["decile"], by_decile,
                  x_axis="decile", metrics=by_decile, groupby=[], xAxisForceCategorical=True, x_axis_sort="decile",
                  x_axis_sort_asc=True, show_legend=True),
            chart(superset, "Whom to look after", "table", customers, ["customer_id", "tier"], [predicted], 10, query_mode="aggregate",
                  groupby=["customer_id", "tier"], metrics=[predicted], order_desc=True),
        ],
    ]
    dashboard = superset.post("dashboard/", dashboard_title=TITLE, slug="ltv", published=True, position_json=json.dumps(layout(rows)))["id"]
    for identifier, _ in (each for row in rows for each in row):
        superset.put(f"chart/{identifier}", dashboards=[dashboard])
    print("/superset/dashboard/ltv/")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
