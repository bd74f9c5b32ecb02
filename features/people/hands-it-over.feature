@people @gate
Feature: Handing the incident over

  Who rolled back at three in the morning goes to bed, and somebody else takes over what is left, with a checklist and its
  evidence. The receiver is known by a key, and not by a name that anybody can type.

  Background:
    Given the service "ferry"
    And 20 journeys per second by 20 users

  Scenario: The receiver proves who it is, and accepts
    When release "v2-quotes-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "hands-it-over"
    And "ada" accepts it after 1 seconds
    Then service is restored within 5 minutes
    And ada accepts the incident
