# database: demo
"""Superset: examples/superset makes a dashboard by the API; its charts are asked, and Chromium looks at it.

With PG_LTV_KEEP_SCREENSHOT=FILE the picture is kept there.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import psycopg
import requests
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from tools import ROOT, URL, need, parts

chromium, driver = need("chromium", "chromium"), need("chromedriver", "chromium-driver")
port = os.environ["PG_LTV_FREE_PORT"]
web = f"http://127.0.0.1:{port}"
directory = pathlib.Path(tempfile.mkdtemp(prefix="superset."))
example = pathlib.Path(ROOT) / "examples/superset"
password = os.urandom(16).hex()
(directory / "superset_config.py").write_text(f"""
SECRET_KEY = "{os.urandom(32).hex()}"
SQLALCHEMY_DATABASE_URI = "sqlite:///{directory}/superset.db"
TALISMAN_ENABLED = False
""")
environment = {**os.environ, "FLASK_APP": "superset", "SUPERSET_HOME": str(directory), "SUPERSET_CONFIG_PATH": str(directory / "superset_config.py")}


def program(name):
    return str(pathlib.Path(sys.executable).with_name(name))


def run(*command):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait(server):
    for _ in range(1500):
        assert server.poll() is None, (directory / "server.log").read_text()
        try:
            if requests.get(web + "/health", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)
    raise AssertionError("Superset does not answer")


def prepare_database():
    """The example's views; its role gets a password, as the private cluster asks for one."""
    role, server = "superset_reader", parts()
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute((example / "views.sql").read_text())
        connection.execute(f"ALTER ROLE {role} PASSWORD '{server['password']}'")
        wanted = connection.execute("SELECT sum(predicted), sum(spent) FROM superset_customers").fetchone()
        deciles = connection.execute("SELECT decile, mean_prediction, mean_actual FROM superset_deciles ORDER BY decile").fetchall()
    url = f"postgresql+psycopg2://{role}:{server['password']}@{server['host']}:{server['port']}/{server['dbname']}"
    return url, wanted, deciles


def close(got, wanted):
    return abs(got - wanted) <= 1e-6 * abs(wanted)


def ask_charts(wanted, deciles):
    """Each chart, as the dashboard asks for it, answers what the database says."""
    token = requests.post(web + "/api/v1/security/login", json={"username": "admin", "password": password, "provider": "db"}, timeout=60)
    headers = {"Authorization": "Bearer " + token.json()["access_token"]}
    charts = requests.get(web + "/api/v1/chart/", headers=headers, timeout=60).json()["result"]
    answers = {}
    for chart in charts:
        answer = requests.get(f"{web}/api/v1/chart/{chart['id']}/data/", headers=headers, timeout=120)
        assert answer.ok, f"{chart['slice_name']}: {answer.text}"
        answers[chart["slice_name"]] = answer.json()["result"][0]["data"]
    assert close(answers["Predicted in all"][0]["sum predicted"], wanted[0])
    tiers = answers["Predicted and spent, by tier"]
    assert len(tiers) == 4 and close(sum(tier["sum spent"] for tier in tiers), wanted[1])
    tenths = sorted(answers["Held-out customers by tenths, per head"], key=lambda row: row["decile"])
    assert all(close(row["max mean_prediction"], predicted) and close(row["max mean_actual"], spent)
               for row, (_, predicted, spent) in zip(tenths, deciles, strict=True))
    assert len(answers["Whom to look after"]) == 10
    print(f"ok {len(answers)} charts")
    return answers


def look(path, titles):
    """The page as a person sees it who logs in: every chart is drawn, none shows an error."""
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1400,1140", f"--user-data-dir={directory}/browser"]:
        options.add_argument(option)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        wait = WebDriverWait(browser, 300)
        browser.get(web + "/login/")
        wait.until(lambda page: page.find_element("css selector", "input[type=password]"))
        browser.find_element("css selector", "input:not([type=password]):not([type=hidden])").send_keys("admin")
        browser.find_element("css selector", "input[type=password]").send_keys(password + Keys.ENTER)
        wait.until(lambda page: "/login" not in page.current_url)
        browser.get(web + path)

        def is_drawn(page):
            text = page.find_element("tag name", "body").text
            return all(title in text for title in titles) and len(page.find_elements("css selector", "canvas")) >= 2 and not page.find_elements("css selector", "[aria-label=Loading]")

        wait.until(is_drawn)
        time.sleep(2)
        text = browser.find_element("tag name", "body").text
        assert "error" not in text.lower(), text
        browser.save_screenshot(os.environ.get("PG_LTV_KEEP_SCREENSHOT", str(directory / "dashboard.png")))
    finally:
        browser.quit()
    print("ok the page in Chromium")


def end(server):
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


url, wanted, deciles = prepare_database()
run(program("superset"), "db", "upgrade")
run(program("superset"), "fab", "create-admin", "--username", "admin", "--password", password, "--firstname", "A", "--lastname", "B", "--email", "a@example.com")
run(program("superset"), "init")
with open(directory / "server.log", "w") as log:
    server = subprocess.Popen([program("gunicorn"), "--threads", "8", "--timeout", "120", "--bind", f"127.0.0.1:{port}", "superset.app:create_app()"],
                              env=environment, stdout=log, stderr=log)
try:
    wait(server)
    path = run(sys.executable, str(example / "dashboard.py"), web, "admin", password, url).strip()
    answers = ask_charts(wanted, deciles)
    look(path, answers)
finally:
    end(server)
shutil.rmtree(directory)
with psycopg.connect(URL, autocommit=True) as connection:
    connection.execute("DROP MATERIALIZED VIEW superset_deciles")
    connection.execute("DROP VIEW superset_customers")
    connection.execute("SELECT ltv_revoke('cdnow', 'superset_reader')")
    connection.execute("DROP ROLE superset_reader")
