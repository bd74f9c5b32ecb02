Feature: A schema alone, rolled back by plain SQL

  Background:
    Given the service "books"

  Scenario: The authors come back
    When release "v2-splits-names" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 2 minutes
    And every node has the schema and the data of before

  @control
  Scenario: Control: the column goes and the authors stay cut off
    When release "v2-splits-names" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "drops-names"
    Then the drill fails because "rows that nobody touched are unchanged"
