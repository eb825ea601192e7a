import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/** Scores by plain and prepared statements, by a cursor, and errors; prints "customer_id score" of the last. */
public class Jdbc {
    static final String SCORES = "SELECT customer_id, ltv_predict('cdnow', f) AS ltv FROM cdnow_features f ORDER BY customer_id";

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(arguments[0], arguments[1], arguments[2])) {
            double plain = sum(connection.createStatement().executeQuery(SCORES), false);
            // From the fifth time on the driver uses a statement that the server has prepared, in binary.
            PreparedStatement prepared = connection.prepareStatement(SCORES.replace("'cdnow'", "?"));
            prepared.setString(1, "cdnow");
            for (int i = 0; i < 8; i++) {
                check(plain, sum(prepared.executeQuery(), false), "prepared " + i);
            }
            try (PreparedStatement one = connection.prepareStatement("SELECT ltv_predict('cdnow', ?::jsonb)")) {
                ResultSet row = connection.createStatement().executeQuery(
                    "SELECT to_jsonb(f)::text, ltv_predict('cdnow', f) FROM cdnow_features f LIMIT 1");
                row.next();
                one.setString(1, row.getString(1));
                ResultSet result = one.executeQuery();
                result.next();
                check(row.getDouble(2), result.getDouble(1), "one customer as jsonb");
            }
            try {
                connection.createStatement().executeQuery("SELECT ltv_predict('no', '{}')");
                throw new AssertionError("no error");
            } catch (SQLException error) {
                if (!error.getSQLState().equals("42704")) throw error;
            }
            try (Statement training = connection.createStatement()) {
                training.execute("CALL ltv_train_now('jdbc', 'cdnow_features', options => '{\"epochs\": 1, \"ensemble\": 1}')");
            }
            // A cursor needs a transaction and a size.
            connection.setAutoCommit(false);
            Statement cursor = connection.createStatement();
            cursor.setFetchSize(1000);
            check(plain, sum(cursor.executeQuery(SCORES), true), "cursor");
            connection.commit();
        }
    }

    static double sum(ResultSet rows, boolean print) throws SQLException {
        double sum = 0;
        while (rows.next()) {
            sum += rows.getDouble("ltv");
            if (print) {
                System.out.println(rows.getString("customer_id") + " " + rows.getDouble("ltv"));
            }
        }
        return sum;
    }

    static void check(double wanted, double got, String what) {
        if (Math.abs(wanted - got) > 1e-6 * Math.max(1, Math.abs(wanted))) {
            throw new AssertionError(what + ": " + got + " in place of " + wanted);
        }
    }
}
