# database: demo
"""SQLAlchemy and pandas: core expressions, reflected views, streaming, read_sql by chunks, to_sql and back."""

import pandas
import sqlalchemy as sa
from tools import SCORES, URL, same

engine = sa.create_engine(URL.replace("postgresql://", "postgresql+psycopg://"), pool_size=2)

features = sa.Table("cdnow_features", sa.MetaData(), autoload_with=engine)
row = sa.text("cdnow_features")
score = sa.func.ltv_predict("cdnow", sa.literal_column("cdnow_features")).label("ltv")
statement = sa.select(features.c.customer_id, score).order_by(features.c.customer_id)
with engine.connect() as connection:
    same([tuple(r) for r in connection.execute(statement)], "core expression")
    streamed = connection.execution_options(yield_per=1000).execute(statement)
    same([tuple(r) for r in streamed], "streamed")
    best = connection.execute(sa.select(features.c.customer_id).where(score > 500).order_by(score.desc()).limit(3)).all()
    assert len(best) == 3
print("ok in WHERE and ORDER BY")

views = sa.inspect(engine).get_view_names()
assert {"ltv_models", "ltv_versions", "ltv_jobs"} <= set(views), views
columns = {column["name"]: column for column in sa.inspect(engine).get_columns("ltv_models")}
assert columns["champion"]["comment"], "columns of views have comments"
print("ok reflection")

frame = pandas.read_sql(SCORES, engine)
assert str(frame.dtypes["ltv"]) == "float64", frame.dtypes
same(list(frame.itertuples(index=False, name=None)), "pandas")
with engine.connect().execution_options(stream_results=True) as connection:
    chunks = pandas.concat(pandas.read_sql(sa.text(SCORES), connection, chunksize=5000))
same(list(chunks.itertuples(index=False, name=None)), "pandas by chunks")

with engine.connect() as connection:
    frame = pandas.read_sql(sa.text("SELECT * FROM cdnow_features ORDER BY customer_id"), connection)
numbers = frame.select_dtypes("number").columns
assert "recency" in numbers and "monetary_mean" in numbers, list(numbers)
frame.to_sql("from_pandas", engine, index=False)
with engine.connect() as connection:
    rows = connection.execute(sa.text("SELECT customer_id, ltv_predict('cdnow', f) FROM from_pandas f ORDER BY customer_id"))
    same([tuple(r) for r in rows], "a table that pandas wrote")
