@control @database @gate
Feature: Control: a rollback that forgets the logical replica

  Changes of the schema are not replicated logically. The plan brings the column back on the primary alone, and the
  logical replica stops applying at the first row that has it. Shop's users notice nothing.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 40 journeys per second by 50 users

  Scenario: The logical replica keeps the schema of the bad release
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "forgets-the-subscriber"
    Then the drill fails because "every node has the schema of before"
